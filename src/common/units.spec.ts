import fc from 'fast-check';

import { InvalidInputError } from '../domain/errors.js';
import { formatBytes, parseDurationMs, parseSizeBytes } from './units.js';

describe('parseDurationMs', () => {
  it.each([
    ['0', 0],
    ['0s', 0],
    ['250ms', 250],
    ['5m', 300_000],
    ['1m30s', 90_000],
    ['1h1m1s1ms', 3_661_001],
    ['1.5h', 5_400_000],
    ['.5s', 500],
    ['1500us', 1.5],
    ['1500\u00b5s', 1.5],
    ['1500\u03bcs', 1.5],
    ['1000000ns', 1],
  ])('reads %s', (text, ms) => expect(parseDurationMs(text)).toBeCloseTo(ms, 9));

  it.each([
    '',
    '5',
    '1',
    '-5m',
    '+5m',
    '5 m',
    ' 5m',
    '5m ',
    '5M',
    '5d',
    'm',
    '1m30',
    '1..5s',
    '1e3s',
    '5m\n',
    '∞',
    '9'.repeat(400) + 's',
  ])('refuses %j', (text) => expect(() => parseDurationMs(text)).toThrow(InvalidInputError));
});

describe('parseSizeBytes', () => {
  it.each([
    ['0', 0],
    ['1048576', 1_048_576],
    ['500MiB', 524_288_000],
    ['20mib', 20_971_520],
    ['1.5GB', 1_500_000_000],
    ['1 GiB', 1_073_741_824],
    ['2Ki', 2048],
    ['3k', 3000],
    ['1TiB', 2 ** 40],
    ['500*1024*1024', 524_288_000],
    ['2 * 1 MiB', 2_097_152],
    ['7B', 7],
  ])('reads %s', (text, bytes) => expect(parseSizeBytes(text)).toBe(bytes));

  it.each([
    '',
    ' ',
    '-1',
    '1e9',
    '0x10',
    'MiB',
    '1 2',
    '1**2',
    '*1',
    '1*',
    '1.MB',
    '5 parsecs',
    '1PiB',
    '9007199254740993',
    '1_000',
    'constructor',
    '1constructor',
  ])('refuses %j', (text) => expect(() => parseSizeBytes(text)).toThrow(InvalidInputError));

  it('gives whole, non-negative bytes or says what is accepted', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[\d.* kKmMgGiB]{0,20}$/)), (text) => {
        for (const parse of [parseSizeBytes, parseDurationMs]) {
          try {
            expect(parse(text)).toBeGreaterThanOrEqual(0);
            if (parse === parseSizeBytes) expect(Number.isSafeInteger(parse(text))).toBe(true);
          } catch (error) {
            if (!(error instanceof InvalidInputError)) throw error;
            expect(error.message).toContain('accepted');
          }
        }
      }),
    );
  });
});

describe('formatBytes', () => {
  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [1.25 * 2 ** 30, '1.3 GiB'],
    [500 * 2 ** 20, '500 MiB'],
    [2 ** 50, '1024 TiB'],
  ])('writes %d as %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text));
});
