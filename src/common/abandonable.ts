/**
 * Waits for `shared`, which others wait for, too: when `signal` aborts only this caller stops waiting, and gets the
 * signal's reason.
 */
export async function abandonable<T>(shared: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason as Error);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([shared, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
