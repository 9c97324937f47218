/** Half-open: `start` ≤ byte < `end`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/**
 * What a `Range` header asks of `size` bytes (RFC 9110, 14.1.2): `bytes=a-b`, `bytes=a-` and `bytes=-n`.
 * @returns undefined when the header is to be ignored (absent, another unit, several ranges, not well-formed): answer 200;
 *   `unsatisfiable` when it ends before it begins, or no byte of it exists: answer 416
 */
export function parseByteRange(
  header: string | undefined,
  size: number,
): ByteRange | 'unsatisfiable' | undefined {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '');
  if (!match) return undefined;
  const [, first = '', last = ''] = match;
  if (first === '' && last === '') return undefined;
  if (first === '') {
    const length = Number(last);
    return length === 0 || size === 0 ? 'unsatisfiable' : { start: Math.max(0, size - length), end: size };
  }
  const start = Number(first);
  if (start >= size || (last !== '' && Number(last) < start)) return 'unsatisfiable';
  return { start, end: last === '' ? size : Math.min(Number(last) + 1, size) };
}

/** `bytes=a-b` alone: what whoever knows a blob's size asks for. Undefined for everything else. */
export function parseExactRange(header: string | undefined): ByteRange | undefined {
  const match = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(header ?? '');
  if (!match) return undefined;
  const [start, last] = [Number(match[1]), Number(match[2])];
  return start <= last ? { start, end: last + 1 } : undefined;
}
