import { readAtMost } from '../common/read-at-most.js';
import { PreheatFailure } from '../domain/errors.js';

/** A small document as a whole. @throws PreheatFailure `corrupt` above `maxBytes`, without reading on */
export function readAll(stream: AsyncIterable<Uint8Array>, maxBytes: number): Promise<Buffer> {
  const tooLong = (): PreheatFailure =>
    new PreheatFailure('corrupt', `more than the ${maxBytes} bytes that were expected`);
  return readAtMost(stream, maxBytes, tooLong);
}
