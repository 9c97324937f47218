import fc from 'fast-check';

import { parseContentRange } from './content-range.js';

describe('parseContentRange', () => {
  it('reads what servers write', () => {
    expect(parseContentRange('bytes 4-9/10')).toEqual({ start: 4, endExclusive: 10, size: 10 });
  });

  it.each(['', 'bytes 4-9/*', 'bytes */10', 'bytes 9-4/10', 'bytes 4-10/10', 'items 0-1/2', 'bytes -1-2/3'])(
    'refuses "%s"',
    (header) => {
      expect(parseContentRange(header)).toBeUndefined();
    },
  );

  it('gives a range that lies in its blob, or nothing', () => {
    const number = fc.oneof(fc.nat(100).map(String), fc.string({ maxLength: 3 }));
    fc.assert(
      fc.property(number, number, number, (first, last, size) => {
        const range = parseContentRange(`bytes ${first}-${last}/${size}`);
        expect(
          range === undefined || (range.start < range.endExclusive && range.endExclusive <= range.size),
        ).toBe(true);
      }),
    );
  });
});
