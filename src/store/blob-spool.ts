import { createHash } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';

import { syncDirectory } from '../common/atomic-file.js';
import type { Digest } from '../domain/digest.js';
import type { BufferPool } from './buffer-pool.js';
import { CoalescingWriter } from './coalescing-writer.js';
import { hashChunks, writeChunkHashes } from './chunk-hashes.js';
import { asStoreFailure } from './disk-errors.js';
import type { StoreLayout } from './store-layout.js';

/** A blob written from its first byte to its last, whose digest is known only at its end. Whoever opens one must `close` it. */
export class BlobSpool {
  private readonly hash = createHash('sha256');
  private readonly buffer: Buffer;
  private readonly writer: CoalescingWriter;
  private bytes = 0;
  private published = false;

  private constructor(
    private readonly layout: StoreLayout,
    private readonly buffers: BufferPool,
    private readonly path: string,
    private readonly handle: FileHandle,
  ) {
    this.buffer = buffers.take();
    this.writer = new CoalescingWriter(handle, this.buffer, 0);
  }

  /** @throws PreheatFailure `insufficient_disk` */
  static async open(layout: StoreLayout, buffers: BufferPool): Promise<BlobSpool> {
    const path = layout.spool();
    try {
      await layout.ensure();
      return new BlobSpool(layout, buffers, path, await open(path, 'wx+', 0o600));
    } catch (error) {
      throw asStoreFailure(error, 'a blob');
    }
  }

  get size(): number {
    return this.bytes;
  }

  /** Of what was written so far. */
  get digest(): Digest {
    return `sha256:${this.hash.copy().digest('hex')}`;
  }

  /** `piece` is the caller's again when this resolves. @throws PreheatFailure `insufficient_disk` */
  async write(piece: Uint8Array): Promise<void> {
    this.hash.update(piece);
    this.bytes += piece.length;
    await this.onDisk(this.writer.push(piece));
  }

  /** Makes it visible, durably, as the blob that its bytes are. @throws PreheatFailure `insufficient_disk` */
  async publish(): Promise<void> {
    await this.onDisk(this.moveIntoPlace(this.digest));
    this.published = true;
  }

  /** Drops what was not published. */
  async close(): Promise<void> {
    this.buffers.give(this.buffer);
    await this.handle.close();
    if (!this.published) await rm(this.path, { force: true });
  }

  private async moveIntoPlace(digest: Digest): Promise<void> {
    await this.writer.flush();
    // The size of a chunk follows from the size of the blob, which was not known until now: read it back.
    const hashes = await hashChunks(this.handle, this.bytes, this.buffer);
    await this.handle.sync();
    await this.layout.ensure();
    await writeChunkHashes(this.layout.chunkHashes(digest), this.bytes, hashes);
    await rename(this.path, this.layout.blob(digest));
    await syncDirectory(this.layout.blobs);
  }

  private async onDisk(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      throw asStoreFailure(error, 'a blob');
    }
  }
}
