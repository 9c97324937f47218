import { Readable } from 'node:stream';

/**
 * The pieces of `source`; when `signal` aborts, rejects with its reason at once, even while the source is silent.
 * A source that was not read to its end is closed.
 */
export async function* abortable<T>(
  source: AsyncIterable<T>,
  signal: AbortSignal,
): AsyncGenerator<T, void, void> {
  const iterator = source[Symbol.asyncIterator]();
  let ended = false;
  try {
    for (;;) {
      const next = await orAbort(iterator.next(), signal);
      if (next.done) {
        ended = true;
        return;
      }
      yield next.value;
    }
  } finally {
    if (!ended) close(source, iterator);
  }
}

/** Not awaited: an iterator that is in the middle of a read would return only after it. What it throws then concerns nobody. */
function close<T>(source: AsyncIterable<T>, iterator: AsyncIterator<T>): void {
  // A stream's iterator waits like any other, but the stream itself can be closed at once.
  if (source instanceof Readable) source.destroy();
  else void Promise.resolve(iterator.return?.()).catch(() => undefined);
}

/** What `work` resolves to, or the signal's reason if that comes first. */
export async function orAbort<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason as Error);
  if (signal.aborted) abort();
  else signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
