import fc from 'fast-check';

import { parseContentLength, parseContentRange } from './content-range.js';

describe('parseContentRange', () => {
  it('reads what servers write', () => {
    expect(parseContentRange('bytes 2-9/10')).toEqual({ start: 2, end: 10, size: 10 });
    expect(parseContentRange(' Bytes 0-0/1 ')).toEqual({ start: 0, end: 1, size: 1 });
  });

  it.each([
    '',
    'bytes */10',
    'bytes 0-9/*',
    'bytes 9-2/10',
    'bytes 0-10/10',
    'bytes -1-2/10',
    'items 0-1/2',
    'bytes 0-1/2, bytes 1-1/2',
    'bytes 0-1/99999999999999999',
  ])('refuses %p', (header) => {
    expect(parseContentRange(header)).toBeUndefined();
  });

  it('accepts exactly what is consistent', () => {
    const number = fc.nat({ max: 20 });
    fc.assert(
      fc.property(number, number, number, (start, last, size) => {
        const consistent = start <= last && last < size;
        expect(parseContentRange(`bytes ${start}-${last}/${size}`)).toEqual(
          consistent ? { start, end: last + 1, size } : undefined,
        );
      }),
    );
  });

  it('survives anything', () => {
    const number = fc.string({ maxLength: 3 });
    const header = fc.oneof(
      fc.string(),
      fc.tuple(number, number, number).map(([start, last, size]) => `bytes ${start}-${last}/${size}`),
    );
    fc.assert(
      fc.property(header, (text) => {
        const range = parseContentRange(text);
        expect(range === undefined || (range.start < range.end && range.end <= range.size)).toBe(true);
      }),
    );
  });
});

describe('parseContentLength', () => {
  it('reads plain numbers alone', () => {
    expect(parseContentLength('0')).toBe(0);
    expect(parseContentLength('5368709120')).toBe(5_368_709_120);
    for (const text of [undefined, '', '-1', '1e3', '12, 12', '9999999999999999']) {
      expect(parseContentLength(text)).toBeUndefined();
    }
  });
});
