import fc from 'fast-check';

import { MAX_JSON_DEPTH, MAX_JSON_VALUES, parseShallowJson } from './shallow-json.js';

describe('parseShallowJson', () => {
  it('reads what JSON.parse reads, and refuses what it refuses', () => {
    const outcome = (parse: (text: string) => unknown, text: string): unknown => {
      try {
        return parse(text);
      } catch (error) {
        return (error as Error).name;
      }
    };
    const brackets = fc.array(fc.constantFrom('[', ']', '{', '}', '"', '\\', ',', ':', '1'), {
      maxLength: 40,
    });
    const texts = fc.oneof(
      fc.json(),
      fc.string(),
      brackets.map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(texts, (text) => {
        expect(outcome(parseShallowJson, text)).toEqual(outcome(JSON.parse, text));
      }),
    );
  });

  it('reads brackets in strings, and what is nested as deep as may be', () => {
    const strings = ['['.repeat(1_000), '\\"'.repeat(10), '\\', '"[{'.repeat(200)];
    expect(parseShallowJson(JSON.stringify(strings))).toEqual(strings);
    const nested = (depth: number): string => `${'['.repeat(depth)}${']'.repeat(depth)}`;
    expect(parseShallowJson(nested(MAX_JSON_DEPTH))).toBeDefined();
    expect(() => parseShallowJson(nested(MAX_JSON_DEPTH + 1))).toThrow(SyntaxError);
  });

  it('counts how deep it is, not how much of it there is', () => {
    expect(parseShallowJson(`[${'[],'.repeat(1_000)}{}]`)).toHaveLength(1_001);
  });

  it.each([
    ['items', (count: number) => `[${'1,'.repeat(count)}1]`],
    ['members', (count: number) => `{${'"a":1,'.repeat(count)}"b":1}`],
    ['lists', (count: number) => `[${'[],'.repeat(count)}[]]`],
    ['objects', (count: number) => `[${'{"a":{}},'.repeat(count)}1]`],
  ])('refuses what has too many %s, before it makes anything of it', (_, textOf) => {
    expect(() => parseShallowJson(textOf(MAX_JSON_VALUES))).toThrow('it has more than 100000 values');
    expect(() => parseShallowJson(textOf(100), 100)).toThrow('it has more than 100 values');
    expect(parseShallowJson(textOf(40), 200)).toBeDefined();
  });

  it('counts no comma in a string', () => {
    expect(parseShallowJson('",,,,\\",[,"', 1)).toBe(',,,,",[,');
  });

  it('says why without repeating any of it', () => {
    expect(() => parseShallowJson('{"password": secret}')).toThrow(/^it is not JSON$/);
  });
});
