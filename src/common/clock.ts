import { setTimeout as delay } from 'node:timers/promises';

/**
 * Time as this program sees it. Leases and timeouts go by `monotonicMs` alone, which no clock change moves;
 * `wallMs` is for what people read. Tests and the simulators put their own in its place.
 */
export interface Clock {
  /** Milliseconds since some fixed moment of this process; never goes back. */
  monotonicMs(): number;
  /** Milliseconds since the Unix epoch; may jump. */
  wallMs(): number;
  /** Resolves after `durationMs` (24 days at most); rejects with the signal's reason when it aborts. Does not keep the process alive alone. */
  sleep(durationMs: number, signal?: AbortSignal): Promise<void>;
}
export const Clock = Symbol('Clock');

/** Timers take no more: a longer delay would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  async sleep(durationMs, signal) {
    try {
      await delay(Math.min(durationMs, MAX_TIMER_MS), undefined, {
        ref: false,
        ...(signal ? { signal } : {}),
      });
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    }
  },
};
