import type { FailureReason } from '../domain/preheat-state.js';
import { nextFailure } from './failure-policy.js';
import type { RecordFailure } from './record.js';

const MINUTE_MS = 60_000;

/** When attempts start, if each fails at once, within `durationMs`. */
function attempts(code: FailureReason, durationMs: number, retryAfterMs?: number): number[] {
  const starts: number[] = [];
  let failure: RecordFailure | undefined;
  for (let nowMs = 0; nowMs <= durationMs; nowMs += failure.retryAfterMs) {
    starts.push(nowMs);
    failure = nextFailure(failure, code, retryAfterMs, () => 0);
  }
  return starts;
}

describe('failures that all nodes wait out', () => {
  it('allow one attempt per 5 minutes after 401, 403 and 404', () => {
    for (const code of ['unauthorized', 'not_found'] as const)
      expect(attempts(code, 10 * MINUTE_MS)).toEqual([0, 5 * MINUTE_MS, 10 * MINUTE_MS]);
  });

  it('take the registry at its word after 429, up to an hour, and back off when it says nothing', () => {
    expect(nextFailure(undefined, 'rate_limited', 7000, () => 0).retryAfterMs).toBe(7000);
    expect(nextFailure(undefined, 'rate_limited', 1e9, () => 0).retryAfterMs).toBe(60 * MINUTE_MS);
    expect(nextFailure(undefined, 'rate_limited', undefined, () => 0).retryAfterMs).toBe(MINUTE_MS);
  });

  it('allow three holders per round of network errors, with longer and longer pauses between rounds', () => {
    const starts = attempts('registry_unreachable', 10 * MINUTE_MS).map((ms) => ms / 1000);
    expect(starts).toEqual([0, 5, 15, 75, 80, 90, 210, 215, 225, 465, 470, 480]);
    expect(
      nextFailure(
        { code: 'registry_error', attempt: 300, retryAfterMs: 1 },
        'registry_error',
        undefined,
        () => 0,
      ),
    ).toEqual({ code: 'registry_error', attempt: 301, retryAfterMs: 5000 });
  });

  it('are longer by jitter, never shorter', () => {
    const { retryAfterMs } = nextFailure(undefined, 'not_found', undefined, () => 0.5);
    expect(retryAfterMs).toBe(5.25 * MINUTE_MS);
  });
});
