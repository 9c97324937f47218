import { anySignal } from '../common/abort.js';
import type { Clock } from '../common/clock.js';

/**
 * Runs `work` with a signal that also aborts after `durationMs` of `clock`, with `error()` as its reason.
 * Like `withTimeout` of common/, but by the injected clock, so that lease logic runs on a virtual one.
 */
export async function withDeadline<T>(
  clock: Clock,
  durationMs: number,
  error: () => Error,
  work: (signal: AbortSignal) => Promise<T>,
  parent: AbortSignal,
): Promise<T> {
  parent.throwIfAborted();
  const expired = new AbortController();
  const finished = new AbortController();
  clock.sleep(durationMs, finished.signal).then(
    () => expired.abort(error()),
    () => undefined,
  );
  try {
    return await work(anySignal(parent, expired.signal));
  } finally {
    finished.abort();
  }
}
