import fc from 'fast-check';

import { parseByteRange, parseExactRange } from './byte-range.js';

describe('parseByteRange', () => {
  it.each([
    ['bytes=0-0', 10, { start: 0, end: 1 }],
    ['bytes=2-4', 10, { start: 2, end: 5 }],
    ['bytes=5-', 10, { start: 5, end: 10 }],
    ['bytes=-3', 10, { start: 7, end: 10 }],
    ['bytes=-30', 10, { start: 0, end: 10 }],
    ['bytes=8-100', 10, { start: 8, end: 10 }],
    ['bytes=10-', 10, 'unsatisfiable'],
    ['bytes=-0', 10, 'unsatisfiable'],
    ['bytes=-1', 0, 'unsatisfiable'],
    ['bytes=4-2', 10, 'unsatisfiable'],
    ['bytes=0-1,3-4', 10, undefined],
    ['items=0-1', 10, undefined],
    ['bytes=-', 10, undefined],
    [undefined, 10, undefined],
  ])('%s of %d bytes', (header, size, expected) => {
    expect(parseByteRange(header, size)).toEqual(expected);
  });

  it('never leaves the blob, whatever it is given', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^bytes=\d*-\d*$/)), fc.nat(), (header, size) => {
        const range = parseByteRange(header, size);
        if (typeof range === 'object') {
          expect(range.start).toBeLessThan(range.end);
          expect(range.end).toBeLessThanOrEqual(size);
        }
      }),
    );
  });
});

describe('parseExactRange', () => {
  it.each([
    ['bytes=0-0', { start: 0, end: 1 }],
    ['bytes=1048576-2097151', { start: 1_048_576, end: 2_097_152 }],
    ['bytes=5-4', undefined],
    ['bytes=5-', undefined],
    ['bytes=-5', undefined],
    ['bytes=0-1,3-4', undefined],
    ['bytes=1e3-2000', undefined],
    ['items=0-1', undefined],
    [`bytes=0-${'9'.repeat(16)}`, undefined],
    [undefined, undefined],
  ])('%s', (header, expected) => {
    expect(parseExactRange(header)).toEqual(expected);
  });
});
