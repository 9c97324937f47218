import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

import { TEMPORARY_SUFFIX } from '../../common/atomic-file.js';
import { type Digest, hexOf } from '../../domain/digest.js';
import type { BlobStorage, StoredBlob } from './blob-storage.js';

const PART_BYTES = 256 * 1024;

/** One file per blob, `blobs/sha256/<hex>` as in an OCI layout; nothing is held in memory. */
export class DirectoryBlobStorage implements BlobStorage {
  private readonly blobs: string;

  constructor(directory: string) {
    this.blobs = join(directory, 'blobs', 'sha256');
  }

  async put(source: AsyncIterable<Uint8Array>): Promise<StoredBlob> {
    await mkdir(this.blobs, { recursive: true });
    const temporary = join(this.blobs, `${randomUUID()}${TEMPORARY_SUFFIX}`);
    const hash = createHash('sha256');
    let size = 0;
    async function* hashed(): AsyncGenerator<Uint8Array> {
      for await (const part of source) {
        hash.update(part);
        size += part.length;
        yield part;
      }
    }
    try {
      await pipeline(hashed, createWriteStream(temporary));
      const digest: Digest = `sha256:${hash.digest('hex')}`;
      await rename(temporary, this.pathOf(digest));
      return { digest, size };
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  async sizeOf(digest: Digest): Promise<number | undefined> {
    try {
      return (await stat(this.pathOf(digest))).size;
    } catch {
      return undefined;
    }
  }

  async *read(digest: Digest, start: number, end: number): AsyncIterable<Buffer> {
    // A stream's `end` is inclusive: it cannot say "nothing".
    if (start >= end) return;
    const stream = createReadStream(this.pathOf(digest), { start, end: end - 1, highWaterMark: PART_BYTES });
    yield* stream as AsyncIterable<Buffer>;
  }

  private pathOf(digest: Digest): string {
    return join(this.blobs, hexOf(digest));
  }
}
