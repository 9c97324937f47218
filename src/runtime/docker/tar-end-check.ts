import { Transform, type TransformCallback } from 'node:stream';

import { PreheatFailure } from '../../domain/errors.js';

/** A tar ends with two blocks of zeros. */
const END_BYTES = 1024;

/**
 * Passes a tar through and fails at its end when the tar's own end is missing. Docker reports an export that failed
 * midway by appending a JSON error to the tar and ending the answer as if all was well.
 */
export class TarEndCheck extends Transform {
  private zeros = 0;

  override _transform(chunk: Buffer, _encoding: BufferEncoding, callback: TransformCallback): void {
    const zeros = trailingZeros(chunk);
    this.zeros = zeros === chunk.length ? this.zeros + zeros : zeros;
    callback(null, chunk);
  }

  override _flush(callback: TransformCallback): void {
    callback(
      this.zeros >= END_BYTES
        ? null
        : new PreheatFailure('runtime_error', 'Docker ended the export in the middle of the image'),
    );
  }
}

/** At most `END_BYTES` are looked at. */
function trailingZeros(chunk: Buffer): number {
  const first = Math.max(0, chunk.length - END_BYTES);
  for (let index = chunk.length - 1; index >= first; index--) {
    if (chunk[index] !== 0) return chunk.length - 1 - index;
  }
  return chunk.length - first;
}
