import fc from 'fast-check';

import { parseContentLength, parseContentRange } from './content-range.js';
import { parseRetryAfterMs } from './retry-after.js';

const HOUR_MS = 3_600_000;

describe('parseContentRange', () => {
  it('reads first, last and size', () => {
    expect(parseContentRange('bytes 2-9/10')).toEqual({ first: 2, last: 9, size: 10 });
    expect(parseContentRange(' Bytes 0-0/1 ')).toEqual({ first: 0, last: 0, size: 1 });
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
      fc.property(number, number, number, (first, last, size) => {
        const consistent = first <= last && last < size;
        expect(parseContentRange(`bytes ${first}-${last}/${size}`)).toEqual(
          consistent ? { first, last, size } : undefined,
        );
      }),
    );
  });

  it('survives anything', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const range = parseContentRange(text);
        if (range) expect(range.last).toBeLessThan(range.size);
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

describe('parseRetryAfterMs', () => {
  const now = Date.parse('Sun, 06 Nov 1994 08:00:00 GMT');

  it.each([
    ['0', 0],
    ['120', 120_000],
    [' 7 ', 7_000],
    ['99999999', 24 * HOUR_MS],
    ['Sun, 06 Nov 1994 08:49:37 GMT', 2_977_000],
    ['Sunday, 06-Nov-94 08:49:37 GMT', 2_977_000],
    ['Sun Nov  6 08:49:37 1994', 2_977_000],
    ['Sun, 06 Nov 1994 07:00:00 GMT', 0],
    ['Mon, 06 Nov 2000 07:00:00 GMT', 24 * HOUR_MS],
  ])('reads %s', (header, expected) => {
    expect(parseRetryAfterMs(header, now)).toBe(expected);
  });

  it.each([undefined, '', '-1', '1.5', 'soon', 'Sun, 99 Foo 1994 08:49:37 GMT', '12345678901'])(
    'ignores %p',
    (header) => {
      expect(parseRetryAfterMs(header, now)).toBeUndefined();
    },
  );

  it('stays between now and a day for any time', () => {
    fc.assert(
      fc.property(fc.date({ min: new Date(0), noInvalidDate: true }), (date) => {
        const wait = parseRetryAfterMs(date.toUTCString(), now) ?? 0;
        expect(wait).toBeGreaterThanOrEqual(0);
        expect(wait).toBeLessThanOrEqual(24 * HOUR_MS);
      }),
    );
  });
});
