import { constants, type FileHandle, open, rename, rm } from 'node:fs/promises';

import { syncDirectory } from '../common/atomic-file.js';
import type { Clock } from '../common/clock.js';
import { type ChunkMap, chunkRange, chunkSizeOf } from '../domain/chunk-map.js';
import { type Digest, hexOf } from '../domain/digest.js';
import { PreheatFailure } from '../domain/errors.js';
import type { BufferPool } from './buffer-pool.js';
import { readChunkHashes, writeChunkHashes } from './chunk-hashes.js';
import { ChunkIntake } from './chunk-intake.js';
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
  /** Called once, when this object lets go of the blob for good. */
  readonly onReleased: (partial: PartialBlob) => void;
  /** Called when its writer leaves it for the next one. */
  readonly onParked: (partial: PartialBlob) => void;
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
  private readonly intake: ChunkIntake;
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
    this.intake = new ChunkIntake({
      digest,
      size,
      handle,
      buffers,
      chunks: this.chunks,
      noteChunk: () => {
        this.record.noteChunk();
        this.chunks.follow();
      },
      assertUsable: () => this.assertUsable(),
      onDisk: (work) => this.onDisk(work),
    });
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
      throw asStoreFailure(error, digest);
    }
  }

  /** Bytes from 0 on that are there without a gap: where a source that sends in order should begin. */
  get prefixBytes(): number {
    return this.chunks.prefixBytes;
  }

  /** Bytes of the chunks that are there. */
  get verifiedBytes(): number {
    const { size, isFull } = this.verified;
    if (isFull) return this.size;
    const last = this.verified.length - 1;
    const short = chunkSizeOf(this.size) - chunkRange(this.size, last).length;
    return size * chunkSizeOf(this.size) - (this.verified.has(last) ? short : 0);
  }

  /** Whether every byte of `[start, end)` is in a chunk that is there. */
  covers(start: number, end: number): boolean {
    if (start < 0 || end > this.size || start >= end) return false;
    const chunkSize = chunkSizeOf(this.size);
    for (let index = Math.floor(start / chunkSize); index * chunkSize < end; index += 1)
      if (!this.verified.has(index)) return false;
    return true;
  }

  /** Chunks that are wholly there. For reading only. */
  get verified(): ChunkMap {
    return this.chunks.map;
  }

  /** SHA-256 of each chunk that is there, in hex. */
  get chunkHashes(): readonly (string | undefined)[] {
    return this.chunks.hashes;
  }

  /** See `ChunkIntake.write`. */
  write(...call: Parameters<ChunkIntake['write']>): Promise<void> {
    return this.intake.write(...call);
  }

  /** See `ChunkIntake.writeChunk`. */
  writeChunk(...call: Parameters<ChunkIntake['writeChunk']>): Promise<void> {
    return this.intake.writeChunk(...call);
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

  /** Leaves it to the next writer, with its chunks still served; a blob without a single chunk leaves nothing. */
  async park(): Promise<void> {
    if (this.ended) return;
    if (this.verified.size === 0) return this.discard();
    await this.record.flush();
    this.options.onParked(this);
  }

  /** Keeps what is there for a later start; a blob without a single chunk leaves nothing. */
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
      await this.chunks.settled();
      await this.handle.close();
    } finally {
      this.options.onReleased(this);
    }
  }
}
