import { z } from 'zod';

import { type Digest, isDigest } from '../domain/digest.js';
import { parseShallowJson } from '../domain/shallow-json.js';

const digest = z.custom<Digest>(
  (value) => typeof value === 'string' && isDigest(value),
  'not a sha256 digest',
);
const size = z.number().int().nonnegative();

const catalogImage = z.object({
  /** Canonical reference. */
  image: z.string().min(1),
  /** `os/architecture[/variant]` */
  platform: z.string().min(1),
  /** What the reference names: an index, where there is one. */
  root: digest,
  /** The manifest made up around the same config for an image that came as a classic export (`deriveManifest`). */
  derived: digest.optional(),
  /** Every blob of the image on this platform, manifests among them. */
  blobs: z.array(z.object({ digest, size })).readonly(),
  /** Of `root`. */
  mediaType: z.string().min(1),
  /** Bytes of `root`. */
  size,
  /** Milliseconds since the epoch. */
  lastUsedMs: z.number().nonnegative(),
});

/** An image of which every blob is in the store. */
export type CatalogImage = Readonly<z.infer<typeof catalogImage>>;
/** A blob and the bytes it has. */
export type SizedBlob = CatalogImage['blobs'][number];

const catalog = z.object({ v: z.literal(1), images: z.array(catalogImage) });

/** The images in a `catalog.json`; none when it is damaged: their blobs are then found again by digest. */
export function parseCatalog(text: string): CatalogImage[] {
  try {
    return catalog.parse(parseShallowJson(text)).images;
  } catch {
    return [];
  }
}

export function formatCatalog(images: Iterable<CatalogImage>): string {
  return JSON.stringify({ v: 1, images: [...images] });
}
