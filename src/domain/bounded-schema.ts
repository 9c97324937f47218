import { z } from 'zod';

/**
 * A list of at most `maxItems`. Zod's own `max` looks at the length when each item has been checked, and has left an issue
 * for each that is wrong: of a list of millions that takes minutes and gigabytes.
 */
export function listOf<T>(item: z.ZodType<T>, maxItems: number): z.ZodType<T[]> {
  return z.array(z.unknown()).max(maxItems).pipe(z.array(item));
}

/** A JSON object, of which nothing is looked at and nothing copied. */
export const plainObject = z.custom<Readonly<Record<string, unknown>>>(isPlainObject, 'not an object');

/** A JSON object of texts; however many are none, that is one issue. */
export const stringRecord = z.custom<Readonly<Record<string, string>>>(
  (value) => isPlainObject(value) && Object.values(value).every((member) => typeof member === 'string'),
  'not an object of strings',
);

function isPlainObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
