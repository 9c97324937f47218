/** Why an image is not ready, as `GET /images` says it. */
export const FAILURE_REASONS = [
  'not_found',
  'unauthorized',
  'rate_limited',
  'registry_unreachable',
  'registry_error',
  'lock_unavailable',
  'lock_full',
  'no_source',
  'corrupt',
  'timeout',
  'insufficient_disk',
  'store_full',
  'runtime_unreachable',
  'runtime_error',
  'platform_not_supported',
  'archive_invalid',
] as const;
export type FailureReason = (typeof FAILURE_REASONS)[number];

/**
 * Reasons that are the registry's doing when a lock holder meets them: one node meets them for all, so they are shared
 * through the record. A damaged blob and a stalled read are among them: the next to read it would meet the same.
 */
const REGISTRY_REASONS: ReadonlySet<FailureReason> = new Set([
  'not_found',
  'unauthorized',
  'rate_limited',
  'registry_unreachable',
  'registry_error',
  'corrupt',
  'timeout',
]);

export function isRegistryReason(reason: FailureReason): boolean {
  return REGISTRY_REASONS.has(reason);
}

/** The life of an image on one node, in order; `failed` may follow any: a runtime that is down has no image ready. */
export const PREHEAT_STATES = ['pending', 'resolving', 'fetching', 'loading', 'ready', 'failed'] as const;
export type PreheatState = (typeof PREHEAT_STATES)[number];

/** Where bytes came from, nearest first. An image's source is the farthest that gave a byte. */
export const SOURCES = ['store', 'archive', 'peer', 'registry'] as const;
export type Source = (typeof SOURCES)[number];

export function farthest(left: Source, right: Source): Source {
  return SOURCES.indexOf(left) >= SOURCES.indexOf(right) ? left : right;
}
