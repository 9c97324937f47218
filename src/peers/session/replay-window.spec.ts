import fc from 'fast-check';

import { REPLAY_WINDOW, ReplayWindow } from './replay-window.js';

describe('ReplayWindow', () => {
  it('accepts each counter once, and none that is too far behind', () => {
    const nearby = fc.integer({ min: 1, max: 3 * REPLAY_WINDOW });
    const anywhere = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
    fc.assert(
      fc.property(fc.array(fc.oneof(nearby, anywhere), { maxLength: 200 }), (counters) => {
        const window = new ReplayWindow();
        const accepted = new Set<number>();
        let highest = 0;
        for (const counter of counters) {
          const expected = counter > highest - REPLAY_WINDOW && !accepted.has(counter);
          expect(window.accept(counter)).toBe(expected);
          if (expected) accepted.add(counter);
          highest = Math.max(highest, counter);
        }
      }),
    );
  });

  it('accepts requests that overtook each other', () => {
    const window = new ReplayWindow();
    expect([3, 1, 2, 2, 1, 4].map((counter) => window.accept(counter))).toEqual([
      true,
      true,
      true,
      false,
      false,
      true,
    ]);
    expect(window.accept(4 + REPLAY_WINDOW)).toBe(true);
    expect(window.accept(4)).toBe(false);
    expect(window.accept(5)).toBe(true);
  });
});
