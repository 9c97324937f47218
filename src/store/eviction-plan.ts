import type { Digest } from '../domain/digest.js';
import type { CatalogImage } from './catalog-image.js';

export interface EvictionInput {
  /** Bytes that each blob, complete or partial, takes up. */
  readonly onDisk: ReadonlyMap<Digest, number>;
  readonly images: readonly CatalogImage[];
  /** Images that must stay: in transfer, or a peer asked lately. */
  readonly isHeld: (image: CatalogImage) => boolean;
  /** Blobs that must stay, whatever image has them. */
  readonly pinned: ReadonlySet<Digest>;
  /** Canonical references that the list or a request names. */
  readonly listed: ReadonlySet<string>;
}

export interface EvictionPlan {
  readonly images: readonly CatalogImage[];
  readonly digests: readonly Digest[];
  readonly freedBytes: number;
}

/**
 * What to evict, whole images at a time, to free at least `bytesToFree`, or all that can be when that is not enough:
 * first unlisted images, then blobs of no image (left by failed transfers), then listed images, each by last use. A
 * blob goes with the last image that has it.
 */
export function planEviction(input: EvictionInput, bytesToFree: number): EvictionPlan {
  const { onDisk, images, isHeld, pinned, listed } = input;
  const users = new Map<Digest, number>();
  for (const { blobs } of images) {
    for (const digest of uniqueDigests(blobs)) users.set(digest, (users.get(digest) ?? 0) + 1);
  }
  const evicted: CatalogImage[] = [];
  const digests: Digest[] = [];
  let freedBytes = 0;
  const drop = (digest: Digest): void => {
    const bytes = onDisk.get(digest);
    if (bytes === undefined || pinned.has(digest)) return;
    digests.push(digest);
    freedBytes += bytes;
  };
  const evictImages = (candidates: readonly CatalogImage[]): void => {
    for (const image of candidates.toSorted((left, right) => left.lastUsedMs - right.lastUsedMs)) {
      if (freedBytes >= bytesToFree) return;
      if (isHeld(image)) continue;
      evicted.push(image);
      for (const digest of uniqueDigests(image.blobs)) {
        const left = (users.get(digest) ?? 1) - 1;
        users.set(digest, left);
        if (left === 0) drop(digest);
      }
    }
  };

  evictImages(images.filter(({ image }) => !listed.has(image)));
  for (const digest of onDisk.keys()) {
    if (freedBytes >= bytesToFree) break;
    if (!users.has(digest)) drop(digest);
  }
  evictImages(images.filter(({ image }) => listed.has(image)));
  return { images: evicted, digests, freedBytes };
}

/** An image may have one layer twice. */
function uniqueDigests(blobs: CatalogImage['blobs']): Set<Digest> {
  return new Set(blobs.map(({ digest }) => digest));
}
