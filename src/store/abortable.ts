import { Readable } from 'node:stream';

import { abandonable } from '../common/abandonable.js';

/**
 * The pieces of `source`; when `signal` aborts, rejects with its reason at once, even while the source is silent.
 * A source that was not read to its end is closed.
 */
export function abortable<T>(source: AsyncIterable<T>, signal: AbortSignal): AsyncIterable<T> {
  return source instanceof Readable ? abortableStream(source, signal) : abortableIterable(source, signal);
}

/** A stream can be closed from outside: one listener for all of it, where a race per piece costs seconds per GB in garbage. */
async function* abortableStream<T>(stream: Readable, signal: AbortSignal): AsyncGenerator<T, void, void> {
  const abort = (): void => void stream.destroy(signal.reason as Error);
  if (signal.aborted) abort();
  else signal.addEventListener('abort', abort, { once: true });
  try {
    for await (const piece of stream) yield piece as T;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

async function* abortableIterable<T>(
  source: AsyncIterable<T>,
  signal: AbortSignal,
): AsyncGenerator<T, void, void> {
  const iterator = source[Symbol.asyncIterator]();
  let ended = false;
  try {
    for (;;) {
      const next = await abandonable(iterator.next(), signal);
      if (next.done) {
        ended = true;
        return;
      }
      yield next.value;
    }
  } finally {
    // Not awaited: a generator in the middle of a read would return only after it. What it throws then concerns nobody.
    if (!ended) void Promise.resolve(iterator.return?.()).catch(() => undefined);
  }
}
