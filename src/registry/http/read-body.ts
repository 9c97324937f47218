import { parseContentLength } from '../../common/content-range.js';
import { readAtMost } from '../../common/read-at-most.js';
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
  let body: Buffer;
  try {
    body = await readAtMost(response.body as AsyncIterable<Buffer>, maxBytes, tooLong);
  } catch (error) {
    signal.throwIfAborted();
    throw networkFailure(what, error);
  }
  if (declared !== undefined && declared !== body.length) {
    throw new TransientFailure('registry_error', `${what}: ${body.length} of ${declared} bytes arrived`);
  }
  return body;
}
