import { PreheatFailure } from '../domain/errors.js';

/** A small document as a whole. @throws PreheatFailure `corrupt` above `maxBytes`, without reading on */
export async function readAll(stream: AsyncIterable<Uint8Array>, maxBytes: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of stream) {
    size += part.length;
    if (size > maxBytes)
      throw new PreheatFailure('corrupt', `more than the ${maxBytes} bytes that were expected`);
    parts.push(part);
  }
  return Buffer.concat(parts);
}
