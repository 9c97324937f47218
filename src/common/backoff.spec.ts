import { backoffMs } from './backoff.js';

describe('backoffMs', () => {
  const options = { initialMs: 5_000, maxMs: 300_000 };

  it('doubles from the first failure on, up to the maximum', () => {
    const delays = [1, 2, 3, 6, 7, 8, 50, 5_000].map((failures) =>
      backoffMs(failures, { ...options, jitter: 0 }),
    );
    expect(delays).toEqual([5_000, 10_000, 20_000, 160_000, 300_000, 300_000, 300_000, 300_000]);
  });

  it('takes a part off at random, never adds one', () => {
    expect(backoffMs(1, { ...options, jitter: 0.2, random: () => 0 })).toBe(5_000);
    expect(backoffMs(1, { ...options, jitter: 0.2, random: () => 0.999_999 })).toBeCloseTo(4_000, 1);
    expect(backoffMs(9, { ...options, jitter: 1, random: () => 0.5 })).toBe(150_000);
  });
});
