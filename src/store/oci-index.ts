import { MEDIA_TYPES } from '../domain/manifest.js';
import type { CatalogImage } from './catalog-image.js';

/**
 * The `index.json` of an OCI image layout (image-layout.md) that names what is in the store, so that skopeo, oras and
 * umoci can read it. Names are unique there: of two roots with one name (two platforms, a tag that moved between them)
 * the one used last has it, the other stands without.
 */
export function ociIndexOf(images: readonly CatalogImage[]): string {
  const named = new Set<string>();
  const roots = new Set<string>();
  const manifests = [];
  for (const entry of images.toSorted((left, right) => right.lastUsedMs - left.lastUsedMs)) {
    const key = `${entry.image} ${entry.derived ?? entry.root}`;
    if (roots.has(key)) continue;
    roots.add(key);
    const { image } = entry;
    const annotations = { 'org.opencontainers.image.ref.name': image, 'io.containerd.image.name': image };
    manifests.push({ ...descriptorOf(entry), ...(named.has(image) ? {} : { annotations }) });
    named.add(image);
  }
  return JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests });
}

function descriptorOf({ root, derived, mediaType, size, blobs }: CatalogImage) {
  if (derived === undefined) return { mediaType, digest: root, size };
  const derivedSize = blobs.find(({ digest }) => digest === derived)?.size ?? 0;
  return { mediaType: MEDIA_TYPES.ociManifest, digest: derived, size: derivedSize };
}
