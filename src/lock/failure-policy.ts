import { backoffMs } from '../common/backoff.js';
import type { FailureReason } from '../domain/preheat-state.js';
import type { RecordFailure } from './record.js';

const MINUTE_MS = 60_000;
/** 401, 403, 404: asking again soon gives the same answer and spends everyone's quota. */
const REFUSED_MS = 5 * MINUTE_MS;
const NETWORK_HOLDERS_PER_ROUND = 3;
const NETWORK_RETRY_MS = 5000;
/** Longer than this no registry is believed. */
const MAX_RETRY_AFTER_MS = 60 * MINUTE_MS;

/**
 * What is written into the record after a failure that is the registry's doing: the whole cluster honours it.
 * `attempt` goes on counting until a success; jitter only ever lengthens the wait, and makes no two failures alike.
 * @param retryAfterMs what the registry asked for
 */
export function nextFailure(
  previous: RecordFailure | undefined,
  code: FailureReason,
  retryAfterMs: number | undefined,
  random: () => number = Math.random,
): RecordFailure {
  const attempt = (previous?.attempt ?? 0) + 1;
  const asked = Math.min(retryAfterMs ?? 0, MAX_RETRY_AFTER_MS);
  const delayMs = Math.max(asked, asked > 0 && code === 'rate_limited' ? 0 : ownDelayMs(code, attempt));
  return { ...previous, code, attempt, retryAfterMs: Math.ceil(delayMs * (1 + 0.1 * random())) };
}

function ownDelayMs(code: FailureReason, attempt: number): number {
  if (code === 'not_found' || code === 'unauthorized') return REFUSED_MS;
  const inRound = attempt % NETWORK_HOLDERS_PER_ROUND;
  const round = Math.ceil(attempt / NETWORK_HOLDERS_PER_ROUND);
  const pauseMs = backoffMs(round, { initialMs: MINUTE_MS, maxMs: REFUSED_MS, jitter: 0 });
  // A network error may be one node's own: others of the round try soon. A quota is everybody's.
  return code === 'rate_limited' || inRound === 0 ? pauseMs : NETWORK_RETRY_MS * inRound;
}
