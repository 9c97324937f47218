import { InvalidInputError } from '../../domain/errors.js';

const MIN_BYTES = 32;
const MAX_BYTES = 4096;

/**
 * A secret as an operator wrote it: all of the content counts, but a line break at its end.
 * @param where names the setting or the key for the message, which never repeats the content
 * @throws InvalidInputError `INVALID_SECRET`
 */
export function parseSecretValue(content: Buffer, where: string): Buffer {
  let end = content.length;
  if (content[end - 1] === 0x0a) end -= 1;
  if (end < content.length && content[end - 1] === 0x0d) end -= 1;
  if (end >= MIN_BYTES && end <= MAX_BYTES) return content.subarray(0, end);
  throw new InvalidInputError(
    'INVALID_SECRET',
    `${where} holds ${end} bytes: ${MIN_BYTES} to ${MAX_BYTES} are accepted, such as "openssl rand -hex 32" writes`,
  );
}
