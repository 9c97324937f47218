import { digestName, type ImageReference } from '../domain/image-reference.js';
import { formatPlatform, type Platform } from '../domain/platform.js';
import type { ImageKey } from '../lock/image-key.js';

/** One image that this node is to have, by its list or by a request. */
export interface WantedImage {
  /** The normalised reference. */
  readonly image: string;
  readonly reference: ImageReference;
  readonly platform: Platform;
  /** Higher first. */
  readonly priority: number;
  /** Without 1 MiB of progress in this long it has failed. */
  readonly timeoutMs: number;
}

/** What the lock, the status and the catalog call it. */
export function keyOf({ image, platform }: Pick<WantedImage, 'image' | 'platform'>): ImageKey {
  return { image, platform: formatPlatform(platform) };
}

/** A name the runtime must have for the image to be ready. `name:tag@digest` never creates the tag. */
export function runtimeName({ image, reference }: Pick<WantedImage, 'image' | 'reference'>): string {
  return reference.digest === undefined ? image : digestName(reference, reference.digest);
}

/** One and the same for all entries and requests of an image on a platform. */
export function idOf({ image, platform }: Pick<WantedImage, 'image' | 'platform'>): string {
  return `${image} ${formatPlatform(platform)}`;
}
