import { slopeOf } from './slope.js';

describe('slopeOf', () => {
  it('is that of the line through the samples, or nearest to them', () => {
    const line = [0, 1, 2, 3].map((atMs) => ({ atMs, value: 5 + 2 * atMs }));
    expect(slopeOf(line)).toBeCloseTo(2);
    expect(slopeOf([...line, { atMs: 1.5, value: 100 }])).toBeCloseTo(2);
  });

  it('is 0 where there is no telling', () => {
    expect(slopeOf([])).toBe(0);
    expect(slopeOf([{ atMs: 1, value: 2 }])).toBe(0);
    expect(slopeOf([1, 2].map((value) => ({ atMs: 1, value })))).toBe(0);
  });
});
