import type { ImageReference } from '../domain/image-reference.js';
import type { Platform } from '../domain/platform.js';

/** One image that must be warm. */
export interface ImageListEntry {
  /** The normalised reference, as it stands in metrics, records and `GET /images`. */
  readonly image: string;
  readonly reference: ImageReference;
  readonly platform: Platform;
  /** Higher first; 0 unless the line says otherwise. */
  readonly priority: number;
  /** `PULLING_TIMEOUT` for this image alone. */
  readonly timeoutMs?: number;
  /** Where it first stands, from 1. */
  readonly line: number;
}

/** A line that says something about itself: why it does not parse, or what of it is passed over. */
export interface LineRemark {
  readonly line: number;
  /** Shortened, control characters escaped. */
  readonly text: string;
  readonly reason: string;
}

/** What the bytes of a list file mean. */
export interface ImageList {
  /** By priority, then in the order of the file; each image and platform once. */
  readonly entries: readonly ImageListEntry[];
  /** The first 1,000 lines that do not parse. */
  readonly invalidLines: readonly LineRemark[];
  /** How many there are. */
  readonly invalidLineCount: number;
  /** Lines that count but have a part that does not; the first 1,000. */
  readonly warnings: readonly LineRemark[];
}
