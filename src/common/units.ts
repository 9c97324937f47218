import { InvalidInputError } from '../domain/errors.js';

const DURATION_UNITS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  // Both the micro sign and the Greek letter, as Go has it.
  '\u00b5s': 1e-3,
  '\u03bcs': 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};
const DURATION_PART = /(\d+(?:\.\d+)?|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)/gy;

/** A duration as Go writes it (`1m30s`, `250ms`, `0`), in milliseconds. @throws InvalidInputError `INVALID_DURATION` */
export function parseDurationMs(text: string): number {
  if (text === '0') return 0;
  let total = 0;
  let end = 0;
  for (const match of text.matchAll(DURATION_PART)) {
    total += Number(match[1]) * (DURATION_UNITS[match[2] ?? ''] ?? NaN);
    end = match.index + match[0].length;
  }
  if (text === '' || end !== text.length || !Number.isFinite(total)) {
    throw new InvalidInputError(
      'INVALID_DURATION',
      `"${text.slice(0, 100)}" is not a duration: 5m, 1m30s or 250ms are accepted`,
    );
  }
  return total;
}

const SIZE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  K: 1e3,
  KB: 1e3,
  M: 1e6,
  MB: 1e6,
  G: 1e9,
  GB: 1e9,
  T: 1e12,
  TB: 1e12,
  KI: 2 ** 10,
  KIB: 2 ** 10,
  MI: 2 ** 20,
  MIB: 2 ** 20,
  GI: 2 ** 30,
  GIB: 2 ** 30,
  TI: 2 ** 40,
  TIB: 2 ** 40,
};

/** A size in bytes: `1048576`, `500MiB` (2^20), `1.5GB` (10^9), or a product such as `500*1024*1024`. @throws InvalidInputError `INVALID_SIZE` */
export function parseSizeBytes(text: string): number {
  let product = 1;
  for (const factor of text.split('*')) {
    const match = /^\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*$/.exec(factor);
    const unit = SIZE_UNITS[match?.[2]?.toUpperCase() ?? ''];
    if (!match || unit === undefined) throw invalidSize(text);
    product *= Number(match[1]) * unit;
  }
  const bytes = Math.round(product);
  if (!Number.isSafeInteger(bytes)) throw invalidSize(text);
  return bytes;
}

function invalidSize(text: string): InvalidInputError {
  return new InvalidInputError(
    'INVALID_SIZE',
    `"${text.slice(0, 100)}" is not a size: bytes, 500MiB (2^20), 1.5GB (10^9) or 500*1024*1024 are accepted`,
  );
}

/** For messages: `1.2 GiB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** power;
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[power] ?? 'B'}`;
}
