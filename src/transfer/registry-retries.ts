import { isAbort } from '../common/abort.js';
import { backoffMs } from '../common/backoff.js';
import type { Clock } from '../common/clock.js';
import { reasonOf } from '../domain/errors.js';
import type { FailureReason } from '../domain/preheat-state.js';

/** Tries in a row that bring nothing, after which the registry has failed. */
const MAX_FAILURES = 3;
const PAUSE = { initialMs: 500, maxMs: 5000 };
/** What another try may mend, since a blob goes on from where it stopped. */
const PASSING: ReadonlySet<FailureReason> = new Set(['registry_unreachable', 'registry_error', 'timeout']);

/**
 * Reads from a registry until a try succeeds: what may pass is tried again, longer after each time, up to three times in
 * a row.
 * @param attempt one try; calls `note` for everything it brings that stays: then the next failure counts as the first
 * @throws what the last try has thrown; the signal's reason
 */
export async function withRegistryRetries(
  attempt: (note: () => void) => Promise<void>,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  for (let failures = 0; ;) {
    const tried = { hasBrought: false };
    try {
      await attempt(() => {
        tried.hasBrought = true;
      });
      return;
    } catch (error) {
      failures = tried.hasBrought ? 1 : failures + 1;
      const mayPass = PASSING.has(reasonOf(error, 'registry_unreachable'));
      if (!mayPass || failures >= MAX_FAILURES || isAbort(error, signal)) throw error;
      await clock.sleep(backoffMs(failures, PAUSE), signal);
    }
  }
}
