import { Transform, type TransformCallback } from 'node:stream';

import { PreheatFailure } from '../../domain/errors.js';
import { networkFailure } from '../registry-errors.js';

/** A blob's bytes on their way from a registry: counted, held to the declared length, failing with a `PreheatFailure`. */
export class BlobBody extends Transform {
  private received = 0;

  /**
   * @param expected bytes that must come, no more and no fewer
   * @param what for messages
   * @param onBytes told of each part as it comes
   */
  constructor(
    private readonly expected: number,
    private readonly what: string,
    private readonly onBytes: (count: number) => void,
    private readonly signal: AbortSignal,
  ) {
    // The parts come from a socket and go on to a file: one waiting on either side is enough.
    super({ highWaterMark: 128 * 1024 });
  }

  override _transform(part: Buffer, _encoding: BufferEncoding, callback: TransformCallback): void {
    this.received += part.length;
    this.onBytes(part.length);
    if (this.received > this.expected) callback(this.wrongLength('more than'));
    else callback(null, part);
  }

  override _flush(callback: TransformCallback): void {
    callback(this.received === this.expected ? null : this.wrongLength(`${this.received} of`));
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    if (!error) callback(null);
    else if (this.signal.aborted) callback(this.signal.reason as Error);
    else callback(networkFailure(this.what, error));
  }

  private wrongLength(how: string): PreheatFailure {
    return new PreheatFailure('registry_error', `${this.what}: ${how} ${this.expected} bytes arrived`);
  }
}
