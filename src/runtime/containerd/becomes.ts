import type { Clock } from '../../common/clock.js';

const FIRST_PAUSE_MS = 10;
const MAX_PAUSE_MS = 200;

/** Asks until the answer is yes. @returns false when it was not within `timeoutMs` */
export async function becomes(
  ask: () => Promise<boolean>,
  timeoutMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<boolean> {
  const deadlineMs = clock.monotonicMs() + timeoutMs;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS)) {
    if (await ask()) return true;
    if (clock.monotonicMs() >= deadlineMs) return false;
    await clock.sleep(pauseMs, signal);
  }
}
