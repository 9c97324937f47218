import fc from 'fast-check';

import { AppError } from '../../src/domain/errors.js';
import { IS_FULL_PROFILE } from './directory-cluster.js';
import { tally, tallyLine } from './tally.js';

/** Of the short profile, and the first of the long one: those that once found something, so that it stays found. */
const KEPT_SEEDS: readonly number[] = [20_261_126, 1, 7];
/** `FUZZ_SEED=17` runs that one again, and no other. */
const ONLY_SEED = process.env['FUZZ_SEED'];
/** How many times more the long profile tries of everything. */
const FULL_FACTOR = 10;

/** The seeds of this run: the kept ones and, in the long profile, one that was never tried before. */
export const FUZZ_SEEDS: readonly number[] =
  ONLY_SEED === undefined
    ? [...KEPT_SEEDS, ...(IS_FULL_PROFILE ? [Math.floor(Math.random() * 2 ** 31)] : [])]
    : [Number(ONLY_SEED)];

/**
 * Tries `runs` bad inputs for each seed (ten times as many in the long profile), and counts them. What fails names its seed.
 * @param of what the inputs are for
 */
export async function fuzz<T>(
  of: string,
  inputs: fc.Arbitrary<T>,
  attempt: (input: T) => Promise<void> | void,
  runs = 300,
): Promise<void> {
  for (const seed of FUZZ_SEEDS) {
    tallyLine({ seed, of });
    const numRuns = IS_FULL_PROFILE ? runs * FULL_FACTOR : runs;
    const property = fc.asyncProperty(inputs, async (input) => {
      tally('bad inputs tried');
      await attempt(input);
    });
    await fc.assert(property, { seed, numRuns });
  }
}

/** Whatever is wrong with an input has a code: everything else is a fault of the reader. @returns undefined when refused */
export async function coded<T>(read: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    expect(error.code).toMatch(/^[A-Z][A-Z0-9_]+$/);
    return undefined;
  }
}

export const anyText: fc.Arbitrary<string> = fc
  .constantFrom<'grapheme' | 'binary'>('grapheme', 'binary')
  .chain((unit) => fc.string({ unit, maxLength: 600 }));

/** Texts made of the pieces that a format is made of, and of a few that it is not. */
export function textOf(...pieces: readonly string[]): fc.Arbitrary<string> {
  const piece = fc.oneof(fc.constantFrom(...pieces), fc.string({ maxLength: 5 }));
  return fc.array(piece, { maxLength: 40 }).map((parts) => parts.join(''));
}

export const nearReference: fc.Arbitrary<string> = textOf(
  'docker.io',
  'a',
  '/',
  ':',
  '@',
  'sha256:',
  'f'.repeat(64),
  '.',
  '-',
  '_',
  '[::1]',
  '99999',
);
export const nearNumber: fc.Arbitrary<string> = textOf(
  '0',
  '9',
  '1e9',
  '-',
  '.',
  '*',
  'MiB',
  'GB',
  'm',
  's',
  'ms',
  ' ',
);
