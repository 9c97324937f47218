import type { Clock } from '../common/clock.js';
import { RequestCounts } from './request-counts.js';

describe('RequestCounts', () => {
  let nowMs = 0;
  const counts = (): RequestCounts => new RequestCounts({ monotonicMs: () => nowMs } as Clock);
  beforeEach(() => {
    nowMs = 0;
  });

  it('counts per client and begins anew when the window has ended', async () => {
    const storage = counts();
    for (let hit = 1; hit <= 3; hit += 1) {
      expect(await storage.increment('a', 1_000, 2)).toMatchObject({ totalHits: hit, isBlocked: hit > 2 });
    }
    expect(await storage.increment('b', 1_000, 2)).toMatchObject({ totalHits: 1, isBlocked: false });
    nowMs = 999;
    expect(await storage.increment('a', 1_000, 2)).toMatchObject({ isBlocked: true, timeToBlockExpire: 1 });
    nowMs = 1_000;
    expect(await storage.increment('a', 1_000, 2)).toMatchObject({ totalHits: 1, isBlocked: false });
  });

  it('forgets clients that have gone, and never holds more than 10,000', async () => {
    const storage = counts();
    for (let client = 0; client < 25_000; client += 1) await storage.increment(`c${client}`, 1_000, 1);
    expect(storage.size).toBe(10_000);
    nowMs = 1_000;
    await storage.increment('a', 1_000, 1);
    expect(storage.size).toBe(1);
  });
});
