/** The part of a blob that a 206 carries: `start` ≤ byte < `end` of `size`. */
export interface ContentRange {
  readonly start: number;
  readonly end: number;
  /** Of the whole blob, bytes. */
  readonly size: number;
}

const CONTENT_RANGE = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16})$/i;

/** Reads `Content-Range` (RFC 9110, 14.4). Undefined for anything that does not say all three numbers, or contradicts itself. */
export function parseContentRange(header: string): ContentRange | undefined {
  const match = CONTENT_RANGE.exec(header.trim());
  if (!match) return undefined;
  const [start, last, size] = [Number(match[1]), Number(match[2]), Number(match[3])];
  if (!Number.isSafeInteger(size) || start > last || last >= size) return undefined;
  return { start, end: last + 1, size };
}

/** Reads `Content-Length`; undefined unless it is a plain number of bytes. */
export function parseContentLength(header: string | undefined): number | undefined {
  if (header === undefined || !/^\d{1,16}$/.test(header)) return undefined;
  const bytes = Number(header);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}
