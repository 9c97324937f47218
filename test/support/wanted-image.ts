import { formatReference, parseImageReference } from '../../src/domain/image-reference.js';
import type { WantedImage } from '../../src/preheat/wanted-image.js';

/** An image as a list would name it, for linux/amd64. */
export function wantedImage(text: string, details: Partial<WantedImage> = {}): WantedImage {
  const reference = parseImageReference(text);
  return {
    image: formatReference(reference),
    reference,
    platform: { os: 'linux', architecture: 'amd64' },
    priority: 0,
    timeoutMs: 300_000,
    ...details,
  };
}
