import { pipeline, Readable } from 'node:stream';

import { chunkSizeOf, chunkCountOf } from '../../src/domain/chunk-map.js';
import type { Digest } from '../../src/domain/digest.js';
import { PreheatFailure } from '../../src/domain/errors.js';
import type { ImageReference } from '../../src/domain/image-reference.js';
import { BlobBody } from '../../src/registry/http/blob-body.js';
import type { BlobRange, OpenedBlob } from '../../src/registry/registry-client.js';
import { flipped, type SwarmFaults } from './swarm-faults.js';
import type { SwarmImage } from './swarm-images.js';

const PIECE_BYTES = 64 * 1024;

export interface SwarmRegistryOptions {
  readonly faults: SwarmFaults;
  readonly images: readonly SwarmImage[];
  /** Whether it knows `Range`; without it every answer is the whole blob. */
  readonly ranges: boolean;
  /** Once in the run, a cache in front of it hands out a wrong byte. */
  readonly isWrongOnce: boolean;
}

/** A registry in memory in place of `RegistryClient`, which counts how often every chunk leaves it. */
export class SwarmRegistry {
  /** Per blob, how often each chunk was begun to be sent. */
  readonly reads = new Map<Digest, number[]>();
  private readonly blobs: ReadonlyMap<Digest, Buffer>;
  private readonly manifests: ReadonlyMap<Digest, Buffer>;
  private mayBeWrong: boolean;

  constructor(private readonly options: SwarmRegistryOptions) {
    this.blobs = new Map(options.images.flatMap(({ blobs }) => [...blobs]));
    this.manifests = new Map(options.images.map(({ root, manifest }) => [root, manifest]));
    this.mayBeWrong = options.isWrongOnce;
  }

  manifest(_reference: ImageReference, digest: Digest): Promise<Buffer> {
    const manifest = this.manifests.get(digest);
    if (!manifest) return Promise.reject(new PreheatFailure('not_found', `there is no ${digest}`));
    return Promise.resolve(manifest);
  }

  async blob(
    _reference: ImageReference,
    digest: Digest,
    { start, end }: BlobRange,
    signal: AbortSignal,
  ): Promise<OpenedBlob> {
    signal.throwIfAborted();
    const bytes = this.blobs.get(digest);
    if (!bytes) throw new PreheatFailure('not_found', `there is no ${digest}`);
    const fault = this.options.faults.ofRegistry(digest);
    if (fault) this.options.faults.note(fault);
    if (fault === 'registry_error') throw new PreheatFailure('registry_error', 'the registry answered 500');
    const extent = this.options.ranges
      ? { start, end: end ?? bytes.length }
      : { start: 0, end: bytes.length };
    const body = new BlobBody(extent.end - extent.start, `blob ${digest}`, () => undefined, signal);
    const breakAt = fault && extent.start + this.options.faults.breakAt(extent.end - extent.start, digest);
    pipeline(
      Readable.from(this.pieces(digest, bytes, extent, breakAt), { objectMode: false }),
      body,
      () => undefined,
    );
    await Promise.resolve();
    return { ...extent, size: bytes.length, stream: body };
  }

  private async *pieces(
    digest: Digest,
    bytes: Buffer,
    { start, end }: { start: number; end: number },
    breakAt = Infinity,
  ): AsyncGenerator<Buffer> {
    const reads = this.reads.get(digest) ?? new Array<number>(chunkCountOf(bytes.length)).fill(0);
    this.reads.set(digest, reads);
    for (let at = start; at < end;) {
      if (at >= breakAt) throw new Error('the connection broke');
      const piece = Buffer.from(bytes.subarray(at, Math.min(end, at + PIECE_BYTES, breakAt)));
      if (at % chunkSizeOf(bytes.length) === 0) {
        const index = at / chunkSizeOf(bytes.length);
        reads[index] = (reads[index] ?? 0) + 1;
      }
      if (this.mayBeWrong && bytes.length > PIECE_BYTES) {
        this.mayBeWrong = false;
        piece[0] = flipped(piece[0]);
        this.options.faults.note('registry_flipped');
      }
      at += piece.length;
      yield piece;
      await Promise.resolve();
    }
  }
}
