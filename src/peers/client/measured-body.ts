import { Transform, type TransformCallback } from 'node:stream';

import { formatBytes } from '../../common/units.js';
import { AppError } from '../../domain/errors.js';
import { PeerError } from '../peer-error.js';
import { toPeerError } from './peer-transport.js';

export interface MeasuredBodyOptions {
  /** Bytes that were announced; undefined when nobody said how many there will be. */
  readonly expected: number | undefined;
  readonly onBytes: (count: number) => void;
  /** When it aborts, the stream fails with its reason. */
  readonly signal: AbortSignal;
}

/**
 * A peer's answer on its way to whoever asked: counted, neither more nor fewer bytes than were announced, and every
 * failure of the connection as a PeerError.
 */
export class MeasuredBody extends Transform {
  private received = 0;

  constructor(private readonly measure: MeasuredBodyOptions) {
    super();
  }

  override _transform(part: Buffer, _encoding: BufferEncoding, callback: TransformCallback): void {
    const { expected, onBytes } = this.measure;
    this.received += part.length;
    onBytes(part.length);
    if (expected !== undefined && this.received > expected)
      callback(
        new PeerError('corrupt', `The peer sent more than the ${formatBytes(expected)} it announced.`),
      );
    else callback(null, part);
  }

  override _flush(callback: TransformCallback): void {
    const { expected } = this.measure;
    if (expected === undefined || this.received === expected) callback();
    else
      callback(new PeerError('network', `The peer sent ${this.received} of ${expected} bytes and stopped.`));
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    const { signal } = this.measure;
    if (error === null || error instanceof AppError) callback(error);
    else callback(signal.aborted ? (signal.reason as Error) : toPeerError(error));
  }
}
