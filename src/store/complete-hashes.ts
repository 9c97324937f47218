import type { Digest } from '../domain/digest.js';
import { readChunkHashes } from './chunk-hashes.js';
import type { StoreLayout } from './store-layout.js';

/** Hashes kept in memory, of all blobs together: those of some fifty layers of several GiB, 3 MiB. */
const MAX_HASHES = 32_768;

/** The chunk hashes of complete blobs. While a blob spreads, every peer asks for them several times a second. */
export class CompleteHashes {
  /** The one that was asked for last comes last. */
  private readonly known = new Map<Digest, readonly string[]>();
  private count = 0;

  constructor(
    private readonly layout: Pick<StoreLayout, 'chunkHashes'>,
    private readonly maxHashes = MAX_HASHES,
  ) {}

  /** In hex, in order; undefined when they were not recorded, or not all of them. @param size of the blob, bytes */
  async of(digest: Digest, size: number): Promise<readonly string[] | undefined> {
    const hashes = this.known.get(digest) ?? (await this.read(digest, size));
    this.forget(digest);
    if (hashes) this.remember(digest, hashes);
    return hashes;
  }

  /** The blob is begun anew, or removed. */
  forget(digest: Digest): void {
    this.count -= this.known.get(digest)?.length ?? 0;
    this.known.delete(digest);
  }

  private async read(digest: Digest, size: number): Promise<readonly string[] | undefined> {
    const recorded = await readChunkHashes(this.layout.chunkHashes(digest), size);
    const hashes = recorded?.filter((hash) => hash !== undefined);
    return hashes && hashes.length === recorded?.length ? hashes : undefined;
  }

  private remember(digest: Digest, hashes: readonly string[]): void {
    this.known.set(digest, hashes);
    this.count += hashes.length;
    for (const oldest of this.known.keys()) {
      if (this.count <= this.maxHashes || oldest === digest) return;
      this.forget(oldest);
    }
  }
}
