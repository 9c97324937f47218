import { messageOf, PreheatFailure } from '../domain/errors.js';

const NO_SPACE: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** The system's code (`ENOENT`, …) of what was thrown. */
export function errorCodeOf(error: unknown): string | undefined {
  const hasCode = typeof error === 'object' && error !== null && 'code' in error;
  return hasCode && typeof error.code === 'string' ? error.code : undefined;
}

export function isMissing(error: unknown): boolean {
  return errorCodeOf(error) === 'ENOENT';
}

export function isDiskFull(error: unknown): boolean {
  return NO_SPACE.has(errorCodeOf(error) ?? '');
}

/**
 * The failure to report for an error met while writing `what`: a full disk, or a store deleted underneath, is
 * `insufficient_disk`, since this node could not keep the bytes and another attempt may; anything else stays as it is.
 */
export function asStoreFailure(error: unknown, what: string): unknown {
  if (isDiskFull(error)) {
    return new PreheatFailure(
      'insufficient_disk',
      `no space left while writing ${what}: ${messageOf(error)}`,
      {
        cause: error,
      },
    );
  }
  if (isMissing(error)) {
    return new PreheatFailure('insufficient_disk', `STORE_DIR was deleted while ${what} was being written`, {
      cause: error,
    });
  }
  return error;
}
