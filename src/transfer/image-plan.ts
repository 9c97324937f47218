import type { Digest } from '../domain/digest.js';
import { type ImageConfig, type ImageManifest, isManifestType } from '../domain/manifest.js';
import type { WantedBlob } from './blob-source.js';

/** Everything of one image that must be in the store before the runtime may pull it. */
export interface ImagePlan {
  /** What the reference means: an index or a manifest. */
  readonly root: Digest;
  /** This platform's manifest; the root itself where there is no index. */
  readonly manifest: ImageManifest;
  readonly manifestDigest: Digest;
  /** Root, manifests and all their blobs, each once. */
  readonly blobs: readonly WantedBlob[];
}

/** Each digest once, in the order of first mention. */
export function distinctBlobs(blobs: Iterable<WantedBlob>): WantedBlob[] {
  const seen = new Map<Digest, WantedBlob>();
  for (const { digest, size, mediaType } of blobs)
    if (!seen.has(digest)) seen.set(digest, { digest, size, mediaType });
  return [...seen.values()];
}

export function totalBytes(blobs: Iterable<{ readonly size: number }>): number {
  let total = 0;
  for (const { size } of blobs) total += size;
  return total;
}

/**
 * True if `derived` is a faithful repacking of `original`, whose config is trusted: the very same config, and layers
 * named by its diffIDs, in order. Then classic Docker gives both the same image id.
 */
export function isDerivedFrom(derived: ImageManifest, original: ImageManifest, config: ImageConfig): boolean {
  return (
    derived.config.digest === original.config.digest &&
    derived.layers.length === config.diffIds.length &&
    derived.layers.every(({ digest }, index) => digest === config.diffIds[index])
  );
}

/**
 * The blobs of a derived image. The manifests of the original stay with it: they are what the derived one is checked against.
 * @param size of the derived manifest, bytes
 */
export function derivedBlobs(
  plan: ImagePlan,
  digest: Digest,
  size: number,
  derived: ImageManifest,
): WantedBlob[] {
  return distinctBlobs([
    ...manifestsOf(plan),
    { digest, size, mediaType: derived.mediaType },
    derived.config,
    ...derived.layers,
  ]);
}

export function manifestsOf({ blobs }: ImagePlan): WantedBlob[] {
  return blobs.filter(({ mediaType }) => isManifestType(mediaType));
}
