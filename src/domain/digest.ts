import { createHash } from 'node:crypto';

import { InvalidInputError } from './errors.js';

/** `sha256:` and 64 lower-case hex digits: the only algorithm registries use in practice, and the only one we accept. */
export type Digest = `sha256:${string}`;

const DIGEST = /^sha256:[0-9a-f]{64}$/;

export function isDigest(text: string): text is Digest {
  return DIGEST.test(text);
}

/** @throws InvalidInputError `INVALID_DIGEST` */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new InvalidInputError(
    'INVALID_DIGEST',
    `"${text.slice(0, 100)}" is not a digest: "sha256:" and 64 lower-case hex digits are accepted`,
  );
}

/** The 64 hex digits, good for a file name. */
export function hexOf(digest: Digest): string {
  return digest.slice('sha256:'.length);
}

export function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
