import { type Digest, digestOf } from '../../domain/digest.js';
import type { BlobStorage, StoredBlob } from './blob-storage.js';

const PART_BYTES = 256 * 1024;

/** For small images: everything stays in memory. */
export class MemoryBlobStorage implements BlobStorage {
  private readonly blobs = new Map<Digest, Buffer>();

  async put(source: AsyncIterable<Uint8Array>): Promise<StoredBlob> {
    const parts: Uint8Array[] = [];
    for await (const part of source) parts.push(part);
    const bytes = Buffer.concat(parts);
    const digest = digestOf(bytes);
    this.blobs.set(digest, bytes);
    return { digest, size: bytes.length };
  }

  sizeOf(digest: Digest): Promise<number | undefined> {
    return Promise.resolve(this.blobs.get(digest)?.length);
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the port is asynchronous
  async *read(digest: Digest, start: number, end: number): AsyncIterable<Buffer> {
    const bytes = this.blobs.get(digest) ?? Buffer.alloc(0);
    for (let position = start; position < end; position += PART_BYTES) {
      yield bytes.subarray(position, Math.min(end, position + PART_BYTES));
    }
  }
}
