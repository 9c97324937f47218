import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import { StallTimer } from '../common/abort.js';

/** The reader took nothing for too long, or went away: the response is destroyed, there is nobody to tell. */
class ReaderGoneError extends Error {}

/** Aborts when the client has gone before the response was finished. */
export function closedSignal(response: ServerResponse): AbortSignal {
  const controller = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) controller.abort(new ReaderGoneError('the client closed the connection'));
  });
  return controller.signal;
}

/**
 * Streams `source` as the body, whose head is already written. A reader that takes nothing for `stallTimeoutMs` is cut.
 * A failure midway destroys the connection, so that a short body is never taken for a whole one.
 */
export async function sendBody(
  response: ServerResponse,
  source: AsyncIterable<Uint8Array>,
  stallTimeoutMs: number,
): Promise<void> {
  const stall = new StallTimer(stallTimeoutMs, () => new ReaderGoneError('the client stopped reading'));
  try {
    await pipeline(
      Readable.from(touching(source, stall), { objectMode: false, highWaterMark: 0 }),
      response,
      {
        signal: stall.signal,
      },
    );
  } catch {
    // `pipeline` destroyed the response; the reader sees a broken connection, and its side reports it.
  } finally {
    stall.stop();
  }
}

async function* touching(source: AsyncIterable<Uint8Array>, stall: StallTimer): AsyncGenerator<Uint8Array> {
  for await (const bytes of source) {
    stall.touch();
    yield bytes;
  }
}
