import { Transform, type TransformCallback } from 'node:stream';

import { formatBytes } from '../../common/units.js';
import { PeerError } from '../peer-error.js';

/** Counts what comes through, and lets neither more nor fewer bytes through than were announced. */
export class MeasuredBody extends Transform {
  private received = 0;

  /** @param expected bytes; undefined when nobody said how many there will be */
  constructor(
    private readonly expected: number | undefined,
    private readonly onBytes: (count: number) => void,
  ) {
    super({ highWaterMark: 64 * 1024 });
  }

  override _transform(part: Buffer, _encoding: BufferEncoding, callback: TransformCallback): void {
    this.received += part.length;
    this.onBytes(part.length);
    if (this.expected !== undefined && this.received > this.expected) {
      callback(
        new PeerError('corrupt', `The peer sent more than the ${formatBytes(this.expected)} it announced.`),
      );
    } else callback(null, part);
  }

  override _flush(callback: TransformCallback): void {
    if (this.expected === undefined || this.received === this.expected) callback();
    else {
      callback(
        new PeerError('network', `The peer sent ${this.received} of ${this.expected} bytes and stopped.`),
      );
    }
  }
}
