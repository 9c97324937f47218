import fc from 'fast-check';

import { formatAuthorization, parseAuthorization } from './authorization-header.js';

const session = fc.stringMatching(/^[\w-]{22}$/);
const mac = fc.stringMatching(/^[\w-]{43}$/);
const counter = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });

describe('the Authorization header between agents', () => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(fc.record({ session, counter, mac }), (authorization) => {
        expect(parseAuthorization(formatAuthorization(authorization))).toEqual(authorization);
      }),
    );
  });

  it('is nothing else than what we write', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string().map((text) => `Preheat ${text}`),
        ),
        (text) => {
          const parsed = parseAuthorization(text);
          expect(parsed === undefined || formatAuthorization(parsed) === text).toBe(true);
        },
      ),
    );
  });

  it.each([
    ['no counter', `Preheat session=${'a'.repeat(22)}, counter=0, mac=${'b'.repeat(43)}`],
    [
      'a counter that is no safe integer',
      `Preheat session=${'a'.repeat(22)}, counter=9999999999999999, mac=${'b'.repeat(43)}`,
    ],
    ['something behind it', `Preheat session=${'a'.repeat(22)}, counter=1, mac=${'b'.repeat(43)}, x=1`],
    ['another scheme', `Bearer session=${'a'.repeat(22)}, counter=1, mac=${'b'.repeat(43)}`],
  ])('is refused with %s', (_name, header) => {
    expect(parseAuthorization(header)).toBeUndefined();
  });
});
