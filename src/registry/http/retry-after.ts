/** A registry that says more than this is not believed. */
const MAX_RETRY_AFTER_MS = 24 * 60 * 60 * 1000;

/** The three date forms of RFC 9110, 5.6.7 all begin with the name of a day; `Date.parse` alone takes far more. */
const HTTP_DATE = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? .{8,40}$/;

/**
 * Reads `Retry-After` (RFC 9110, 10.2.3): seconds, or a date.
 * @param nowWallMs milliseconds since the epoch, for a date
 * @returns milliseconds from now, 0 to 24 hours; undefined when the header is neither
 */
export function parseRetryAfterMs(header: string | undefined, nowWallMs: number): number | undefined {
  const text = header?.trim() ?? '';
  if (/^\d{1,10}$/.test(text)) return Math.min(Number(text) * 1000, MAX_RETRY_AFTER_MS);
  if (!HTTP_DATE.test(text)) return undefined;
  // asctime carries no zone; HTTP dates are always GMT.
  const dateMs = Date.parse(text.endsWith('GMT') ? text : `${text} GMT`);
  if (Number.isNaN(dateMs)) return undefined;
  return Math.min(Math.max(0, dateMs - nowWallMs), MAX_RETRY_AFTER_MS);
}
