import type { Digest } from '../domain/digest.js';
import type { FailureReason } from '../domain/preheat-state.js';
import type { RecordOrigin } from '../lock/record.js';
import type { RecordView } from '../lock/record-view.js';

/** What a registry answers that does not know an image, or does not want to say so. */
const UNKNOWN_IMAGE: ReadonlySet<FailureReason> = new Set(['not_found', 'unauthorized']);

export function doesNotKnow(reason: FailureReason): boolean {
  return UNKNOWN_IMAGE.has(reason);
}

/**
 * Whether a digest that is due for a check outlives a check that failed for `reason`. One that an archive gave does in
 * any case: the registry need not know the image, and is not the one who said what its name means.
 */
function outlives(origin: RecordOrigin | undefined, reason: FailureReason): boolean {
  return origin === 'archive' || !doesNotKnow(reason);
}

/**
 * The digest of the record, where a node may go by it as it is: unless it is stale, and also when it is, while the
 * registry was asked in vain or nobody may ask it.
 */
export function usableDigest({ digest, origin, stale, failure, readOnly }: RecordView): Digest | undefined {
  if (!stale || readOnly) return digest;
  return failure && outlives(origin, failure.reason) ? digest : undefined;
}
