import { constants, type FileHandle, open, rename, rm } from 'node:fs/promises';

import { abandonable } from '../common/abandonable.js';
import { syncDirectory } from '../common/atomic-file.js';
import type { Clock } from '../common/clock.js';
import { type ChunkMap, chunkRange, chunkSizeOf } from '../domain/chunk-map.js';
import { type Digest, hexOf } from '../domain/digest.js';
import { PreheatFailure } from '../domain/errors.js';
import { abortable } from './abortable.js';
import type { BufferPool } from './buffer-pool.js';
import { ChunkClaims } from './chunk-claims.js';
import { readChunkHashes, writeChunkHashes } from './chunk-hashes.js';
import { ChunkWriter } from './chunk-writer.js';
import { PartialRecord } from './partial-record.js';
import { asStoreFailure } from './disk-errors.js';
import type { StoreLayout } from './store-layout.js';
import { VerifiedChunks } from './verified-chunks.js';

export interface PartialBlobOptions {
  readonly digest: Digest;
  /** Bytes the blob is known to have. */
  readonly size: number;
  readonly layout: StoreLayout;
  /** Lends one buffer to each `write`: what it gathers before it writes. */
  readonly buffers: BufferPool;
  readonly clock: Clock;
  /** Called once, when this object lets go of the blob. */
  readonly onReleased: () => void;
}

/** A chunk that a `write` is in the middle of; without a writer when its bytes are there already. */
interface OpenChunk {
  readonly index: number;
  readonly end: number;
  readonly writer?: ChunkWriter;
  readonly release: () => void;
}

/**
 * A blob on its way in: a sparse file that chunks are written to in any order, by several `write`s at once.
 * A chunk counts when all of it is in the file; until then it belongs to one `write` alone, so that what was hashed
 * and what the file holds are the same. The blob's own hash follows the contiguous prefix.
 */
export class PartialBlob {
  readonly digest: Digest;
  readonly size: number;
  private readonly chunks: VerifiedChunks;
  private readonly claims = new ChunkClaims();
  private readonly record: PartialRecord;
  /** Why nothing can be done with this object any more. */
  private ended: Error | undefined;

  private constructor(
    private readonly options: PartialBlobOptions,
    private readonly handle: FileHandle,
  ) {
    const { digest, size, layout, buffers, clock } = options;
    this.digest = digest;
    this.size = size;
    this.chunks = new VerifiedChunks(handle, size, buffers);
    this.record = new PartialRecord(layout.partialRecord(digest), size, this.chunks.hashes, clock);
  }

  /**
   * Opens what an earlier attempt left, or a new empty file. Of the old bytes only those chunks are kept that the
   * record names and whose hash is right, which is found out here by reading them all.
   */
  static async open(options: PartialBlobOptions, signal?: AbortSignal): Promise<PartialBlob> {
    const { layout, digest, size } = options;
    try {
      await layout.ensure();
      const recorded = await readChunkHashes(layout.partialRecord(digest), size);
      const handle = await open(
        layout.partial(digest),
        constants.O_RDWR | constants.O_CREAT | (recorded ? 0 : constants.O_TRUNC),
        0o600,
      );
      const partial = new PartialBlob(options, handle);
      try {
        await handle.truncate(size);
        if (recorded) await partial.chunks.restore(recorded, signal);
        return partial;
      } catch (error) {
        await handle.close();
        throw error;
      }
    } catch (error) {
      options.onReleased();
      throw asStoreFailure(error, digest);
    }
  }

  /** Bytes from 0 on that are there without a gap: where a source that sends in order should begin. */
  get prefixBytes(): number {
    return this.chunks.prefixBytes;
  }

  /** Chunks that are wholly there. For reading only. */
  get verified(): ChunkMap {
    return this.chunks.map;
  }

  /** SHA-256 of each chunk that is there, in hex. */
  get chunkHashes(): readonly (string | undefined)[] {
    return this.chunks.hashes;
  }

  /**
   * Takes in what `source` sends for the bytes from `start`, where a chunk begins or the blob ends, to where it ends.
   * Chunks that are there already are passed over; one that another `write` is in the middle of is waited for. A piece
   * is the source's own again when the next one is asked for; a source not read to its end is closed. A chunk that was
   * not completed leaves nothing behind.
   * @param onBytes told the length of every piece as it arrives
   * @throws PreheatFailure `corrupt` when there are more bytes than the blob has; `insufficient_disk`, with everything
   *   that was written freed; whatever the source throws; the signal's reason
   */
  async write(
    start: number,
    source: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    onBytes: (bytes: number) => void = () => undefined,
  ): Promise<void> {
    const beginsChunk = start >= 0 && start < this.size && start % chunkSizeOf(this.size) === 0;
    if (!beginsChunk && start !== this.size) {
      throw new RangeError(`no chunk of ${this.digest} (${this.size} bytes) begins at byte ${start}`);
    }
    const buffer = this.options.buffers.take();
    let position = start;
    let chunk: OpenChunk | undefined;
    try {
      for await (const piece of abortable(source, signal)) {
        onBytes(piece.length);
        for (let rest = piece; rest.length > 0;) {
          chunk ??= await this.openChunk(position, buffer, signal);
          const part = rest.subarray(0, chunk.end - position);
          await this.fill(chunk, part, position + part.length);
          position += part.length;
          rest = rest.subarray(part.length);
          if (position < chunk.end) continue;
          chunk.release();
          chunk = undefined;
        }
      }
    } finally {
      chunk?.release();
      this.options.buffers.give(buffer);
    }
  }

  /**
   * Makes the blob visible, durably, if every byte is there and the digest is right; then this object is done with.
   * @throws PreheatFailure `corrupt`: where bytes are missing they can still be written; where the digest differs, all is dropped
   */
  async commit(): Promise<void> {
    this.assertUsable();
    if (this.prefixBytes < this.size) {
      throw new PreheatFailure('corrupt', `${this.digest} has ${this.size} bytes, but not all of them came`);
    }
    this.ended = new Error(`${this.digest} is committed`);
    try {
      await this.chunks.catchUp();
      if (this.chunks.prefixDigest() !== hexOf(this.digest)) {
        throw new PreheatFailure(
          'corrupt',
          `what came as ${this.digest} (${this.size} bytes) has another digest`,
        );
      }
      await this.publish();
    } catch (error) {
      await this.removeFiles();
      throw asStoreFailure(error, this.digest);
    } finally {
      await this.release();
    }
  }

  /** Keeps what is there for a later attempt; a blob without a single chunk leaves nothing. */
  async close(): Promise<void> {
    if (this.verified.size === 0) return this.discard();
    if (this.ended) return;
    this.ended = new Error(`${this.digest} is closed`);
    try {
      await this.record.flush();
    } finally {
      await this.release();
    }
  }

  /** Drops every byte. */
  async discard(): Promise<void> {
    if (this.ended) return;
    this.ended = new Error(`${this.digest} was discarded`);
    try {
      await this.removeFiles();
    } finally {
      await this.release();
    }
  }

  /** Sets about the chunk that begins at `start`, once nobody else is at it. */
  private async openChunk(start: number, buffer: Buffer, signal: AbortSignal): Promise<OpenChunk> {
    if (start === this.size) {
      throw new PreheatFailure('corrupt', `more than the ${this.size} bytes of ${this.digest} came`);
    }
    const index = start / chunkSizeOf(this.size);
    const end = start + chunkRange(this.size, index).length;
    const release = await this.claims.claim(index, signal);
    if (this.verified.has(index)) return { index, end, release };
    try {
      // At the frontier bytes are hashed as they come. Without this wait, a hash that lags would lag to the end.
      if (start === this.prefixBytes) await abandonable(this.onDisk(this.chunks.catchUp()), signal);
      const writer = new ChunkWriter(this.handle, buffer, start, this.chunks.forkPrefix(start));
      return { index, end, release, writer };
    } catch (error) {
      release();
      throw error;
    }
  }

  private async fill({ index, end, writer }: OpenChunk, part: Uint8Array, position: number): Promise<void> {
    this.assertUsable();
    if (!writer) return;
    await this.onDisk(writer.push(part));
    if (position < end) return;
    const hash = await this.onDisk(writer.finish());
    this.assertUsable();
    this.chunks.add(index, hash, writer.prefix);
    this.record.noteChunk();
  }

  private async publish(): Promise<void> {
    const { layout } = this.options;
    await this.handle.sync();
    await layout.ensure();
    await writeChunkHashes(layout.chunkHashes(this.digest), this.size, this.chunks.hashes);
    await rename(layout.partial(this.digest), layout.blob(this.digest));
    await syncDirectory(layout.blobs);
    await this.record.remove();
  }

  /** A disk that takes no more costs this blob everything, so that the others can go on. */
  private async onDisk<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      if (this.ended) throw this.ended;
      const failure = asStoreFailure(error, this.digest);
      if (failure !== error) await this.discard();
      throw failure;
    }
  }

  private assertUsable(): void {
    if (this.ended) throw this.ended;
  }

  private async removeFiles(): Promise<void> {
    await this.record.remove();
    await rm(this.options.layout.partial(this.digest), { force: true });
  }

  private async release(): Promise<void> {
    try {
      await this.handle.close();
    } finally {
      this.options.onReleased();
    }
  }
}
