/** Where a ranged answer lies in its blob: bytes `start` to `endExclusive` of `size`. */
export interface ContentRange {
  readonly start: number;
  readonly endExclusive: number;
  readonly size: number;
}

/** `bytes 0-99/1234` (RFC 9110 section 14.4); what does not say all three, or contradicts itself, is undefined. */
export function parseContentRange(header: string): ContentRange | undefined {
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/.exec(header);
  if (!match) return undefined;
  const [start, last, size] = [Number(match[1]), Number(match[2]), Number(match[3])];
  return start <= last && last < size ? { start, endExclusive: last + 1, size } : undefined;
}
