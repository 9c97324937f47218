import { type Digest, isDigest } from '../../domain/digest.js';
import type { BlobStorage, StoredBlob } from './blob-storage.js';

interface Repository {
  readonly tags: Map<string, Digest>;
  /** Media types of what was put as a manifest. */
  readonly manifests: Map<Digest, string>;
  readonly blobs: Set<Digest>;
}

/** Repositories over one storage: who may be asked for which blob, and what tags mean. */
export class RegistryContent {
  private readonly repositories = new Map<string, Repository>();

  constructor(readonly storage: BlobStorage) {}

  async addBlob(repository: string, source: AsyncIterable<Uint8Array>): Promise<StoredBlob> {
    const blob = await this.storage.put(source);
    this.open(repository).blobs.add(blob.digest);
    return blob;
  }

  /** @param reference a tag, or the manifest's own digest */
  async addManifest(
    repository: string,
    reference: string,
    bytes: Uint8Array,
    mediaType: string,
  ): Promise<StoredBlob> {
    const blob = await this.storage.put(toIterable(bytes));
    const { manifests, tags } = this.open(repository);
    manifests.set(blob.digest, mediaType);
    if (!isDigest(reference)) tags.set(reference, blob.digest);
    return blob;
  }

  /** What a tag or digest names in a repository. */
  manifest(repository: string, reference: string): { digest: Digest; mediaType: string } | undefined {
    const found = this.repositories.get(repository);
    const digest = isDigest(reference) ? reference : found?.tags.get(reference);
    const mediaType = digest && found?.manifests.get(digest);
    return digest && mediaType ? { digest, mediaType } : undefined;
  }

  hasBlob(repository: string, digest: Digest): boolean {
    return this.repositories.get(repository)?.blobs.has(digest) ?? false;
  }

  tags(repository: string): string[] {
    return [...(this.repositories.get(repository)?.tags.keys() ?? [])].sort();
  }

  private open(name: string): Repository {
    let repository = this.repositories.get(name);
    if (!repository) {
      repository = { tags: new Map(), manifests: new Map(), blobs: new Set() };
      this.repositories.set(name, repository);
    }
    return repository;
  }
}

// eslint-disable-next-line @typescript-eslint/require-await -- the storage takes what comes over time
async function* toIterable(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
