import fc from 'fast-check';

import { parseChallenges } from './www-authenticate.js';

/** In a form that compares well. */
function plain(header: string): [string, Record<string, string>][] {
  return parseChallenges(header).map(({ scheme, params }) => [scheme, Object.fromEntries(params)]);
}

describe('parseChallenges', () => {
  it.each<[string, [string, Record<string, string>][]]>([
    ['', []],
    ['Basic realm="Registry Realm"', [['basic', { realm: 'Registry Realm' }]]],
    [
      'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
      [
        [
          'bearer',
          {
            realm: 'https://auth.docker.io/token',
            service: 'registry.docker.io',
            scope: 'repository:a/b:pull,push',
          },
        ],
      ],
    ],
    [
      'BASIC realm=x, Bearer Realm = "y" , error="insufficient_scope"',
      [
        ['basic', { realm: 'x' }],
        ['bearer', { realm: 'y', error: 'insufficient_scope' }],
      ],
    ],
    [
      'Negotiate YII/+=, Basic realm="a \\"quoted\\" one"',
      [
        ['negotiate', {}],
        ['basic', { realm: 'a "quoted" one' }],
      ],
    ],
    [
      'Basic, Bearer realm="r"',
      [
        ['basic', {}],
        ['bearer', { realm: 'r' }],
      ],
    ],
    ['Bearer realm="first", realm="second"', [['bearer', { realm: 'first' }]]],
    ['Bearer realm="a", broken="no end', [['bearer', { realm: 'a' }]]],
    ['realm="no scheme"', []],
    ['"', []],
  ])('reads %s', (header, expected) => {
    expect(plain(header)).toEqual(expected);
  });

  it('gives back what was written, whatever a quoted value contains', () => {
    const name = fc.stringMatching(/^[a-z]{1,8}$/);
    const challenge = fc.tuple(name, fc.dictionary(name, fc.string(), { minKeys: 1, noNullPrototype: true }));
    fc.assert(
      fc.property(fc.array(challenge, { maxLength: 4 }), (challenges) => {
        const header = challenges
          .map(([scheme, params]) => {
            const quoted = Object.entries(params).map(
              ([key, value]) => `${key}="${value.replace(/["\\]/g, '\\$&')}"`,
            );
            return `${scheme} ${quoted.join(', ')}`;
          })
          .join(', ');
        expect(plain(header)).toEqual(challenges);
      }),
    );
  });

  it('survives anything, and reads no further than 8 KiB', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => Array.isArray(parseChallenges(text))));
    expect(parseChallenges(`${' '.repeat(9000)}Basic realm="x"`)).toEqual([]);
  });
});
