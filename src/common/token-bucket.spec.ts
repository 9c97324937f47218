import fc from 'fast-check';

import { VirtualClock } from '../../test/support/virtual-clock.js';
import { TokenBucket } from './token-bucket.js';

const RATE = 1_000;

describe('TokenBucket', () => {
  let clock: VirtualClock;
  beforeEach(() => {
    clock = new VirtualClock();
  });

  it('holds the rate over the sum of all who share it, whatever they take', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 8 }),
        async (sizes) => {
          const own = new VirtualClock();
          const bucket = new TokenBucket(RATE, own);
          const stop = new AbortController();
          let taken = 0;
          const sharers = sizes.map(async (size) => {
            for (;;) {
              await bucket.take(size, stop.signal);
              taken += size;
            }
          });
          await own.advance(10_000);
          stop.abort(new Error('stop'));
          await Promise.allSettled(sharers);
          // Off by no more than the burst, and one turn of debt.
          expect(taken).toBeGreaterThanOrEqual(10 * RATE - Math.max(...sizes));
          expect(taken).toBeLessThanOrEqual(10 * RATE + RATE / 4 + Math.max(...sizes));
        },
      ),
      { numRuns: 25 },
    );
  });

  it('makes up for a timer that comes a fifth of a second late', async () => {
    const bucket = new TokenBucket(RATE, clock);
    await bucket.take(250);
    await clock.advance(200);
    await bucket.take(200);
    expect(clock.monotonicMs()).toBe(200);
    const next = bucket.take(100).then(() => bucket.take(1));
    await clock.run(next);
    expect(clock.monotonicMs()).toBe(300);
  });

  it('serves in order of arrival', async () => {
    const bucket = new TokenBucket(RATE, clock);
    const order: string[] = [];
    const done = ['a', 'b', 'c'].map((name) => bucket.take(500).then(() => order.push(name)));
    await clock.run(Promise.all(done));
    expect(order).toEqual(['a', 'b', 'c']);
  });

  it('saves up a quarter of a second and no more', async () => {
    const bucket = new TokenBucket(RATE, clock);
    await clock.advance(60_000);
    await bucket.take(250);
    await bucket.take(1);
    const third = clock.run(bucket.take(1_000).then(() => clock.monotonicMs()));
    expect(await third).toBe(60_001);
  });

  it('lets a caller that aborts go at once, without paying or holding up the others', async () => {
    const bucket = new TokenBucket(RATE, clock);
    await bucket.take(1_250);
    const leaving = new AbortController();
    const reason = new Error('left');
    const left = bucket.take(1_000_000, leaving.signal);
    const waitsBehind = bucket.take(1, leaving.signal);
    const next = bucket.take(1).then(() => clock.monotonicMs());
    await clock.advance(500);
    leaving.abort(reason);
    await expect(left).rejects.toBe(reason);
    await expect(waitsBehind).rejects.toBe(reason);
    expect(await clock.run(next)).toBe(1_000);
  });

  it('refuses a caller that had aborted before', async () => {
    const reason = new Error('left');
    await expect(new TokenBucket(RATE, clock).take(1, AbortSignal.abort(reason))).rejects.toBe(reason);
  });

  it('keeps a rate within 5 % over 5 s when no more than its burst is taken at once', async () => {
    const bucket = new TokenBucket(RATE, clock);
    const stop = new AbortController();
    const taken: { atMs: number; count: number }[] = [];
    const taker = (async () => {
      for (;;) {
        await bucket.take(bucket.burst, stop.signal);
        taken.push({ atMs: clock.monotonicMs(), count: bucket.burst });
      }
    })();
    await clock.advance(20_000);
    stop.abort(new Error('stop'));
    await expect(taker).rejects.toBe(stop.signal.reason);
    for (let fromMs = 1_000; fromMs <= 15_000; fromMs += 1_000) {
      const inWindow = taken.filter(({ atMs }) => atMs >= fromMs && atMs < fromMs + 5_000);
      const sum = inWindow.reduce((total, { count }) => total + count, 0);
      expect(Math.abs(sum - 5 * RATE)).toBeLessThanOrEqual(0.05 * 5 * RATE);
    }
    expect(new TokenBucket(0, clock).burst).toBe(Infinity);
  });

  it('has no limit at 0', async () => {
    const bucket = new TokenBucket(0, clock);
    for (let turn = 0; turn < 100; turn += 1) await bucket.take(Number.MAX_SAFE_INTEGER);
    expect(clock.monotonicMs()).toBe(0);
  });
});
