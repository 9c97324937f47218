/**
 * Waits for `shared`, which others wait for, too: when `signal` aborts only this caller stops waiting, and gets the
 * signal's reason.
 */
export async function abandonable<T>(shared: Promise<T>, signal: AbortSignal): Promise<T> {
  // Who does not even begin to wait leaves a promise that may have no other caller to hear of its failure.
  shared.catch(() => undefined);
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
