import { z } from 'zod';

import { listOf, plainObject, stringRecord } from './bounded-schema.js';

describe('listOf', () => {
  const numbers = listOf(z.number(), 3);

  it('reads lists of at most that many items', () => {
    expect(numbers.parse([1, 2, 3])).toEqual([1, 2, 3]);
    expect(numbers.safeParse([1, '2']).error?.issues).toMatchObject([{ path: [1] }]);
    expect(numbers.safeParse({ length: 1 }).success).toBe(false);
  });

  it('looks at no item of a longer one', () => {
    const { error } = numbers.safeParse(Array.from({ length: 1_000 }, () => 'wrong'));
    expect(error?.issues).toMatchObject([{ code: 'too_big', maximum: 3 }]);
  });
});

describe('stringRecord', () => {
  it.each([[null], [[]], ['text'], [{ a: 1 }], [{ a: '1', b: {} }]])('refuses %j', (value) => {
    expect(stringRecord.safeParse(value).success).toBe(false);
  });

  it('finds fault once, however many members are wrong', () => {
    const wrong = Object.fromEntries(Array.from({ length: 1_000 }, (_, at) => [`key-${at}`, at]));
    expect(stringRecord.safeParse(wrong).error?.issues).toHaveLength(1);
    expect(stringRecord.parse({ a: '1' })).toEqual({ a: '1' });
  });
});

describe('plainObject', () => {
  it('takes objects alone, as they are', () => {
    const object = { a: [] };
    expect(plainObject.parse(object)).toBe(object);
    for (const value of [null, [], 'text', undefined])
      expect(plainObject.safeParse(value).success).toBe(false);
  });
});
