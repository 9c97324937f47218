import type { FileHandle } from 'node:fs/promises';
import { finished, Readable, type Writable } from 'node:stream';

import { abandonable } from '../common/abandonable.js';
import { anySignal } from '../common/abort.js';
import type { BufferPool } from './buffer-pool.js';

/** Of the pieces of a stream, which are used once: larger ones would be no cheaper, and garbage in larger lumps. */
const STREAM_PIECE_BYTES = 256 * 1024;

/** How fast and in what pieces something is sent. */
export interface Pacing {
  /** Awaited with each piece's length before it is sent: the place for a rate limit. */
  readonly beforePiece?: (bytes: number) => Promise<void> | void;
  /** No piece is larger; 1 MiB is the most in any case. */
  readonly maxPieceBytes?: number;
}

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
   * One reused buffer: a socket has enough in the kernel to be busy with during the next read. The buffer is the
   * destination's until the callback of its `write` has run, and is not touched before.
   * @throws when the destination fails or is closed early; the signal's reason
   */
  async sendTo(
    destination: Writable,
    start: number,
    endExclusive: number,
    signal: AbortSignal,
    { beforePiece = () => undefined, maxPieceBytes = Infinity }: Pacing = {},
  ): Promise<void> {
    const closed = new AbortController();
    const forget = finished(destination, { readable: false }, (error) =>
      closed.abort(error ?? new Error('the destination was closed before all was sent')),
    );
    const stop = anySignal(signal, closed.signal);
    const buffer = this.buffers.take();
    try {
      for (let position = start; position < endExclusive;) {
        const piece = await this.read(buffer, position, Math.min(endExclusive, position + maxPieceBytes));
        await abandonable(Promise.resolve(beforePiece(piece.length)), stop);
        await abandonable(write(destination, piece), stop);
        position += piece.length;
      }
      // Only now: after a failure the destination may still hold it.
      this.buffers.give(buffer);
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
      const buffer = Buffer.allocUnsafeSlow(Math.min(STREAM_PIECE_BYTES, endExclusive - position));
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
  return new Promise<void>((resolve, reject) => {
    destination.write(piece, (error) => (error ? reject(error) : resolve()));
  });
}
