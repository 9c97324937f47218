import type { FileHandle } from 'node:fs/promises';
import { finished, Readable, type Writable } from 'node:stream';

import { abandonable } from '../common/abandonable.js';
import { anySignal } from '../common/abort.js';
import type { BufferPool } from './buffer-pool.js';

/** Reads one complete blob through one open file: it stays readable when the blob is evicted meanwhile. */
export class BlobReader {
  constructor(
    /** Bytes. */
    readonly size: number,
    private readonly handle: FileHandle,
    private readonly buffers: BufferPool,
  ) {}

  /**
   * The bytes `[start, endExclusive)`. Every piece is a buffer of its own, the consumer's for ever, since a stream
   * cannot tell when its consumer is done with one. For sending to a socket `sendTo` costs half as much.
   * Destroyed with the signal's reason when it aborts.
   */
  stream(start: number, endExclusive: number, signal: AbortSignal): Readable {
    return Readable.from(this.pieces(start, endExclusive, signal), { objectMode: false });
  }

  /**
   * Writes the bytes `[start, endExclusive)` to `destination` and resolves when it has taken them all; does not end it.
   * Two reused buffers: one is being sent while the other is read into. A buffer is the destination's until the
   * callback of its `write` has run, and is not touched before.
   * @param beforePiece awaited with each piece's length before it is sent: the place for a rate limit
   * @throws when the destination fails or is closed early; the signal's reason
   */
  async sendTo(
    destination: Writable,
    start: number,
    endExclusive: number,
    signal: AbortSignal,
    beforePiece: (bytes: number) => Promise<void> | void = () => undefined,
  ): Promise<void> {
    const closed = new AbortController();
    const forget = finished(destination, { readable: false }, (error) =>
      closed.abort(error ?? new Error('the destination was closed before all was sent')),
    );
    const stop = anySignal(signal, closed.signal);
    const buffers = [this.buffers.take(), this.buffers.take()] as const;
    const sent: [Promise<void>, Promise<void>] = [Promise.resolve(), Promise.resolve()];
    try {
      let turn: 0 | 1 = 0;
      for (let position = start; position < endExclusive; turn = turn === 0 ? 1 : 0) {
        await abandonable(sent[turn], stop);
        const piece = await this.read(buffers[turn], position, endExclusive);
        await abandonable(Promise.resolve(beforePiece(piece.length)), stop);
        sent[turn] = write(destination, piece);
        position += piece.length;
      }
      await abandonable(Promise.all(sent), stop);
      // Only now: after a failure the destination may still hold them.
      for (const buffer of buffers) this.buffers.give(buffer);
    } finally {
      forget();
    }
  }

  async close(): Promise<void> {
    await this.handle.close();
  }

  private async *pieces(start: number, endExclusive: number, signal: AbortSignal): AsyncGenerator<Buffer> {
    for (let position = start; position < endExclusive;) {
      signal.throwIfAborted();
      const buffer = Buffer.allocUnsafeSlow(Math.min(this.buffers.bufferBytes, endExclusive - position));
      const piece = await this.read(buffer, position, endExclusive);
      position += piece.length;
      yield piece;
    }
  }

  private async read(buffer: Buffer, position: number, endExclusive: number): Promise<Buffer> {
    const length = Math.min(buffer.length, endExclusive - position);
    const { bytesRead } = await this.handle.read(buffer, 0, length, position);
    if (bytesRead === 0) throw new Error(`the blob ends at byte ${position}, before ${endExclusive}`);
    return buffer.subarray(0, bytesRead);
  }
}

/** Resolves when `destination` is done with `piece`. */
function write(destination: Writable, piece: Buffer): Promise<void> {
  const done = new Promise<void>((resolve, reject) => {
    destination.write(piece, (error) => (error ? reject(error) : resolve()));
  });
  // It may be waited for only after another failure was met.
  done.catch(() => undefined);
  return done;
}
