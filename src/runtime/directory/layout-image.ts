import type { Digest } from '../../domain/digest.js';
import { PreheatFailure } from '../../domain/errors.js';
import { type ImageManifest, parseManifest, selectManifest } from '../../domain/manifest.js';
import type { Platform } from '../../domain/platform.js';
import type { LayoutEntry } from './layout-index.js';

/** An image of a layout, as one platform sees it. */
export interface LayoutImage {
  readonly root: LayoutEntry;
  readonly manifest: ImageManifest;
  /** Manifests from the root down: the index, where there is one, and the manifest. */
  readonly manifests: readonly { readonly digest: Digest; readonly bytes: Buffer }[];
}

/**
 * Follows `root` to this platform's manifest.
 * @param read gives the bytes of a manifest; undefined ends the walk
 * @returns undefined when a manifest is missing
 * @throws PreheatFailure `registry_error` for what is no manifest, `platform_not_supported`
 */
export async function readImage(
  digest: Digest,
  platform: Platform,
  read: (digest: Digest) => Promise<Buffer | undefined>,
): Promise<LayoutImage | undefined> {
  const bytes = await read(digest);
  if (bytes === undefined) return undefined;
  const parsed = parseManifest(bytes);
  const root = { mediaType: parsed.mediaType, digest, size: bytes.length };
  const top = { digest, bytes };
  if (parsed.kind === 'manifest') return { root, manifest: parsed, manifests: [top] };
  const selected = selectManifest(parsed, platform).digest;
  const below = await read(selected);
  if (below === undefined) return undefined;
  const manifest = parseManifest(below);
  if (manifest.kind === 'index')
    throw new PreheatFailure('platform_not_supported', 'an index of indexes names no image for a platform');
  return { root, manifest, manifests: [top, { digest: selected, bytes: below }] };
}

/** Digests of everything the image consists of. */
export function digestsOf({ manifest, manifests }: LayoutImage): Digest[] {
  return [
    ...manifests.map(({ digest }) => digest),
    manifest.config.digest,
    ...manifest.layers.map(({ digest }) => digest),
  ];
}
