import type { Digest } from '../../domain/digest.js';

export interface StoredBlob {
  readonly digest: Digest;
  readonly size: number;
}

/** Where a registry keeps bytes. */
export interface BlobStorage {
  /** Stores everything that comes, under the digest that it turns out to have. */
  put(source: AsyncIterable<Uint8Array>): Promise<StoredBlob>;
  /** Undefined when there is no such blob. */
  sizeOf(digest: Digest): Promise<number | undefined>;
  /** Bytes `start` to `end` (exclusive) of a blob that is there. */
  read(digest: Digest, start: number, end: number): AsyncIterable<Buffer>;
}
