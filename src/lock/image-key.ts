import { createHash } from 'node:crypto';

/** What a record is about: an image as the list names it, and a platform. */
export interface ImageKey {
  /** The normalised reference. */
  readonly image: string;
  /** `os/architecture[/variant]` */
  readonly platform: string;
}

/** The key of an image's record: the first 32 hex digits of a SHA-256. */
export function recordKeyOf({ image, platform }: ImageKey): string {
  return createHash('sha256').update(`${image}|${platform}`).digest('hex').slice(0, 32);
}

export function isRecordKey(text: string): boolean {
  return /^[0-9a-f]{32}$/.test(text);
}
