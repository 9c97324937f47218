import fc from 'fast-check';

import { parseRetryAfterMs } from './retry-after.js';

const HOUR_MS = 3_600_000;

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
