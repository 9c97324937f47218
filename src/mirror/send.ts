import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import { StallTimer } from '../common/abort.js';
import type { BlobReader, Pacing } from '../store/blob-reader.js';
import type { ByteRange } from './byte-range.js';

/** The reader took nothing for too long, or went away: the response is destroyed, there is nobody to tell. */
class ReaderGoneError extends Error {}

type BeforePiece = NonNullable<Pacing['beforePiece']>;

export interface SendOptions {
  /** A reader that takes nothing for this long is cut. */
  readonly stallTimeoutMs: number;
  /** Awaited with each piece's length before it is sent: the place for a rate limit. */
  readonly beforePiece: BeforePiece;
}

/** Aborts when the client has gone before the response was finished. */
export function closedSignal(response: ServerResponse): AbortSignal {
  const controller = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) controller.abort(new ReaderGoneError('the client closed the connection'));
  });
  return controller.signal;
}

/** Sends a range of a stored blob as the body, whose head is already written. */
export async function sendBlob(
  response: ServerResponse,
  blob: BlobReader,
  { start, end }: ByteRange,
  options: SendOptions & Pick<Pacing, 'maxPieceBytes'>,
): Promise<void> {
  await sendWatched(response, options, async (signal, beforePiece) => {
    await blob.sendTo(response, start, end, signal, { ...options, beforePiece });
    response.end();
  });
}

/** Sends `source` as the body, whose head is already written. */
export async function sendStream(
  response: ServerResponse,
  source: AsyncIterable<Uint8Array>,
  options: SendOptions,
): Promise<void> {
  await sendWatched(response, options, async (signal, beforePiece) => {
    const pieces = Readable.from(paced(source, beforePiece), { objectMode: false, highWaterMark: 0 });
    await pipeline(pieces, response, { signal });
  });
}

/** A failure midway destroys the connection, so that a short body is never taken for a whole one. */
async function sendWatched(
  response: ServerResponse,
  { stallTimeoutMs, beforePiece }: SendOptions,
  send: (signal: AbortSignal, beforePiece: BeforePiece) => Promise<void>,
): Promise<void> {
  const stall = new StallTimer(stallTimeoutMs, () => new ReaderGoneError('the client stopped reading'));
  try {
    await send(stall.signal, async (bytes) => {
      await beforePiece(bytes);
      stall.touch();
    });
  } catch {
    // The reader sees a broken connection, and its side reports it.
    response.destroy();
  } finally {
    stall.stop();
  }
}

async function* paced(
  source: AsyncIterable<Uint8Array>,
  beforePiece: BeforePiece,
): AsyncGenerator<Uint8Array> {
  for await (const bytes of source) {
    await beforePiece(bytes.length);
    yield bytes;
  }
}
