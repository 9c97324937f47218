import type { IncomingMessage, ServerResponse } from 'node:http';

import { Inject, Injectable } from '@nestjs/common';

import { AppConfig } from '../config/app-config.js';
import type { Digest } from '../domain/digest.js';
import { MAX_MANIFEST_BYTES, MEDIA_TYPES, parseManifest } from '../domain/manifest.js';
import { BlobStore } from '../store/blob-store.js';
import { parseByteRange } from './byte-range.js';
import type { DistributionPath } from './distribution-path.js';
import { closedSignal, sendBlob } from './send.js';
import { Uplink } from './uplink.js';

/** Who is asking, as far as the answer depends on it. */
export interface DistributionClient {
  /** Bytes to peers go through the uplink's rate and slots; the runtime on loopback is not slowed down. */
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
      ? this.sendManifest(request, response, target.digest)
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
  ): Promise<boolean> {
    const bytes = await this.store.readBytes(digest, MAX_MANIFEST_BYTES);
    const mediaType = bytes && mediaTypeOf(bytes);
    if (!mediaType) return false;
    response.setHeader('Docker-Content-Digest', digest);
    response.setHeader('ETag', `"${digest}"`);
    this.sendJson(request, response, 200, mediaType, bytes);
    return true;
  }

  private async sendBlob(
    request: IncomingMessage,
    response: ServerResponse,
    digest: Digest,
    client: DistributionClient,
  ): Promise<boolean> {
    const blob = await this.store.openBlob(digest);
    if (!blob) return false;
    const leave = client.limited ? this.uplink.tryEnter() : undefined;
    try {
      if (client.limited && !leave) {
        response.setHeader('Retry-After', '1');
        this.refuse(request, response, 429, 'TOOMANYREQUESTS', 'all streams to peers are taken');
        return true;
      }
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
      if (request.method === 'HEAD') {
        response.end();
        return true;
      }
      const closed = closedSignal(response);
      await sendBlob(
        response,
        blob,
        { start, end },
        {
          stallTimeoutMs: this.stallTimeoutMs,
          beforePiece: (bytes) => (client.limited ? this.uplink.take(bytes, closed) : undefined),
        },
      );
      return true;
    } finally {
      leave?.();
      await blob.close();
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
