/**
 * The code that Node.js gave an error, such as `ENOENT`. Asked by shape: under Jest, errors of Node's own are not of the
 * test's `Error` class.
 */
export function errnoOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
