import type { IncomingMessage, ServerResponse } from 'node:http';

import { Inject, Injectable } from '@nestjs/common';

import { AppConfig } from '../config/app-config.js';
import { chunkAt } from '../domain/chunk-map.js';
import type { Digest } from '../domain/digest.js';
import { MAX_MANIFEST_BYTES, MEDIA_TYPES, parseManifest } from '../domain/manifest.js';
import type { Caller } from '../peers/access/caller.js';
import { SwarmSource } from '../peers/swarm/swarm-source.js';
import type { BlobReader } from '../store/blob-reader.js';
import { BlobStore } from '../store/blob-store.js';
import { StoreSpace } from '../store/store-space.js';
import { parseByteRange, parseExactRange } from './byte-range.js';
import type { DistributionPath } from './distribution-path.js';
import { closedSignal, sendBlob } from './send.js';
import { Uplink } from './uplink.js';

/** Who is asking, as far as the answer depends on it. */
export interface DistributionClient {
  /** The agent that asks, if it is one: it gets single chunks as there are places for them, of unfinished blobs too. */
  readonly caller?: Caller | undefined;
  /**
   * Bytes to peers and tools go through the uplink's rate and slots, and hold what they are of in the store for ten
   * minutes; the runtime on loopback is not slowed down, and what it reads is pinned.
   */
  readonly limited: boolean;
  /** Called with each digest that was asked for and is not in the store. */
  readonly onMissing?: (digest: Digest) => void;
}

/**
 * Answers reads of the OCI distribution API from the blob store. It never challenges, never redirects, and answers
 * at once, with 404 when it has not got something: containerd falls back on a 404, hangs on silence, and sends its
 * user's credentials to whoever asks for them.
 */
@Injectable()
export class DistributionResponder {
  private readonly stallTimeoutMs: number;

  constructor(
    @Inject(AppConfig) config: AppConfig,
    private readonly store: BlobStore,
    private readonly uplink: Uplink,
    private readonly space: StoreSpace,
    private readonly swarm: SwarmSource,
  ) {
    this.stallTimeoutMs = config.pullingTimeoutMs;
  }

  /** `target` is any path but a tag, which only callers that know records can resolve. */
  async respond(
    request: IncomingMessage,
    response: ServerResponse,
    target: Exclude<DistributionPath, { kind: 'tag' }>,
    client: DistributionClient,
  ): Promise<void> {
    response.setHeader('Docker-Distribution-Api-Version', 'registry/2.0');
    if (target.kind === 'base') {
      this.sendJson(request, response, 200, 'application/json', '{}');
      return;
    }
    if (target.kind === 'referrers') {
      const empty = JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [] });
      this.sendJson(request, response, 200, MEDIA_TYPES.ociIndex, empty);
      return;
    }
    const found = await (target.kind === 'manifest'
      ? this.sendManifest(request, response, target.digest, client)
      : this.sendBlob(request, response, target.digest, client));
    if (found) return;
    client.onMissing?.(target.digest);
    this.refuse(
      request,
      response,
      404,
      target.kind === 'manifest' ? 'MANIFEST_UNKNOWN' : 'BLOB_UNKNOWN',
      'not in this store',
    );
  }

  /** An error in the shape of this program's API and of the distribution API at once. */
  refuse(
    request: IncomingMessage,
    response: ServerResponse,
    statusCode: number,
    code: string,
    message: string,
  ): void {
    const body = { statusCode, code, message, errors: [{ code, message }] };
    this.sendJson(request, response, statusCode, 'application/json', JSON.stringify(body));
  }

  private async sendManifest(
    request: IncomingMessage,
    response: ServerResponse,
    digest: Digest,
    client: DistributionClient,
  ): Promise<boolean> {
    const size = await this.store.sizeOf(digest);
    if (size === undefined || size > MAX_MANIFEST_BYTES) return false;
    return this.inSlot(request, response, digest, client, async (pay) => {
      const bytes = await this.store.readBytes(digest, MAX_MANIFEST_BYTES);
      const mediaType = bytes && mediaTypeOf(bytes);
      if (!mediaType) return false;
      response.setHeader('Docker-Content-Digest', digest);
      response.setHeader('ETag', `"${digest}"`);
      if (request.method !== 'HEAD') await pay(bytes.length);
      this.sendJson(request, response, 200, mediaType, bytes);
      return true;
    });
  }

  private async sendBlob(
    request: IncomingMessage,
    response: ServerResponse,
    digest: Digest,
    client: DistributionClient,
  ): Promise<boolean> {
    const blob = await this.openBlob(request, digest, client);
    if (!blob) return false;
    try {
      // Whoever has gone meanwhile would never give back its place.
      if (response.destroyed) return true;
      const grant = this.grantChunk(request, digest, blob.size, client);
      if (grant === 'full') {
        this.refuseFull(request, response, 'all places for chunks are taken');
        return true;
      }
      if (grant)
        response.once('close', () => grant(response.writableFinished && response.statusCode === 206));
      return await this.inSlot(request, response, digest, client, async (beforePiece) => {
        response.setHeader('Accept-Ranges', 'bytes');
        response.setHeader('Docker-Content-Digest', digest);
        response.setHeader('ETag', `"${digest}"`);
        // A range is defined for GET alone (RFC 9110, 14.2): HEAD tells the size of the whole blob.
        const wanted = request.method === 'GET' ? request.headers.range : undefined;
        const range = parseByteRange(wanted, blob.size);
        if (range === 'unsatisfiable') {
          response.setHeader('Content-Range', `bytes */${blob.size}`);
          this.refuse(request, response, 416, 'RANGE_INVALID', `the blob has ${blob.size} bytes`);
          return true;
        }
        const { start, end } = range ?? { start: 0, end: blob.size };
        if (range) response.setHeader('Content-Range', `bytes ${start}-${end - 1}/${blob.size}`);
        response.writeHead(range ? 206 : 200, {
          'Content-Type': 'application/octet-stream',
          'Content-Length': end - start,
        });
        if (request.method === 'HEAD') response.end();
        else
          await sendBlob(
            response,
            blob,
            { start, end },
            {
              stallTimeoutMs: this.stallTimeoutMs,
              beforePiece,
              maxPieceBytes: client.limited ? this.uplink.maxPieceBytes : Infinity,
            },
          );
        return true;
      });
    } finally {
      await blob.close();
    }
  }

  /** All of a complete blob or, for a peer, the range that it asks for of one that is still arriving. */
  private async openBlob(
    request: IncomingMessage,
    digest: Digest,
    { caller }: DistributionClient,
  ): Promise<BlobReader | undefined> {
    const range = caller && request.method === 'GET' ? parseExactRange(request.headers.range) : undefined;
    return range ? this.store.openRange(digest, range.start, range.end) : this.store.openBlob(digest);
  }

  /** A place for the chunk that a peer asks for; undefined when it is no chunk that is asked for. */
  private grantChunk(
    request: IncomingMessage,
    digest: Digest,
    size: number,
    { caller }: DistributionClient,
  ): ((done: boolean) => void) | 'full' | undefined {
    const range = caller && request.method === 'GET' ? parseExactRange(request.headers.range) : undefined;
    const index = range && chunkAt(size, range.start, range.end);
    if (!caller || index === undefined) return undefined;
    return this.swarm.tryGrant({ digest, size, index, caller }) ?? 'full';
  }

  private refuseFull(request: IncomingMessage, response: ServerResponse, message: string): void {
    response.setHeader('Retry-After', '1');
    this.refuse(request, response, 429, 'TOOMANYREQUESTS', message);
  }

  /**
   * Answers within one of the uplink's slots, or with 429 when all are taken.
   * @param answer gets what to await before so many bytes are sent
   */
  private async inSlot(
    request: IncomingMessage,
    response: ServerResponse,
    digest: Digest,
    { limited }: DistributionClient,
    answer: (beforePiece: (bytes: number) => Promise<void> | void) => Promise<boolean>,
  ): Promise<boolean> {
    if (!limited) return answer(() => undefined);
    this.space.touch(digest);
    const leave = this.uplink.tryEnter();
    if (!leave) {
      this.refuseFull(request, response, 'all streams to peers are taken');
      return true;
    }
    const closed = closedSignal(response);
    try {
      return await answer((bytes) => {
        this.space.touch(digest);
        return this.uplink.take(bytes, closed);
      });
    } catch (error) {
      if (!closed.aborted) throw error;
      // Whoever asked has gone while it waited: there is nobody to tell.
      response.destroy();
      return true;
    } finally {
      leave();
    }
  }

  private sendJson(
    request: IncomingMessage,
    response: ServerResponse,
    statusCode: number,
    mediaType: string,
    body: string | Uint8Array,
  ): void {
    response.writeHead(statusCode, { 'Content-Type': mediaType, 'Content-Length': Buffer.byteLength(body) });
    response.end(request.method === 'HEAD' ? undefined : body);
  }
}

/** The media type of a stored manifest; undefined when the blob is not one. */
function mediaTypeOf(bytes: Uint8Array): string | undefined {
  try {
    return parseManifest(bytes).mediaType;
  } catch {
    return undefined;
  }
}
