/** The part of a blob that a 206 carries; both ends inclusive, as on the wire. */
export interface ContentRange {
  readonly first: number;
  readonly last: number;
  /** Of the whole blob, bytes. */
  readonly size: number;
}

const CONTENT_RANGE = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16})$/i;

/** Reads `Content-Range` (RFC 9110, 14.4). Undefined for anything that does not say all three numbers, or contradicts itself. */
export function parseContentRange(header: string): ContentRange | undefined {
  const match = CONTENT_RANGE.exec(header.trim());
  if (!match) return undefined;
  const [first, last, size] = [Number(match[1]), Number(match[2]), Number(match[3])];
  if (!Number.isSafeInteger(size) || first > last || last >= size) return undefined;
  return { first, last, size };
}

/** Reads `Content-Length`; undefined unless it is a plain number of bytes. */
export function parseContentLength(header: string | undefined): number | undefined {
  if (header === undefined || !/^\d{1,16}$/.test(header)) return undefined;
  const bytes = Number(header);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}
