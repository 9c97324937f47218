import { errnoOf } from '../common/errno.js';
import { messageOf, PreheatFailure } from '../domain/errors.js';

const NO_SPACE: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

export function isMissing(error: unknown): boolean {
  return errnoOf(error) === 'ENOENT';
}

export function isDiskFull(error: unknown): boolean {
  return NO_SPACE.has(errnoOf(error) ?? '');
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
