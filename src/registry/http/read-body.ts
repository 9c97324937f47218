import { parseContentLength } from '../../common/content-range.js';
import { PreheatFailure } from '../../domain/errors.js';
import { networkFailure, TransientFailure } from '../registry-errors.js';
import { discard, type RegistryResponse } from './registry-transport.js';

/**
 * Reads a small answer whole.
 * @throws PreheatFailure `registry_error` when it is longer than `maxBytes`, or other than declared
 */
export async function readBody(
  response: RegistryResponse,
  what: string,
  maxBytes: number,
  signal: AbortSignal,
): Promise<Buffer> {
  const declared = parseContentLength(response.header('content-length'));
  const tooLong = (): PreheatFailure =>
    new PreheatFailure('registry_error', `${what}: the answer has more than ${maxBytes} bytes`);
  if (declared !== undefined && declared > maxBytes) {
    discard(response);
    throw tooLong();
  }
  const parts: Buffer[] = [];
  let length = 0;
  try {
    for await (const part of response.body as AsyncIterable<Buffer>) {
      length += part.length;
      if (length > maxBytes) throw tooLong();
      parts.push(part);
    }
  } catch (error) {
    signal.throwIfAborted();
    throw networkFailure(what, error);
  }
  if (declared !== undefined && declared !== length) {
    throw new TransientFailure('registry_error', `${what}: ${length} of ${declared} bytes arrived`);
  }
  return Buffer.concat(parts);
}
