import { readFile } from 'node:fs/promises';

import { InvalidInputError, messageOf } from '../../domain/errors.js';
import type { KeyMaterial, KeySource } from './key-source.js';

const MIN_SECRET_BYTES = 32;
const MAX_SECRET_BYTES = 4096;

/** `PEER_KEY_FILE` and `API_TOKEN_FILE`: the whole content counts, without a line break at its end. */
export class FileKeySource implements KeySource {
  readonly pollIntervalMs = 5_000;

  constructor(
    private readonly peerKeyFile: string | undefined,
    private readonly apiTokenFile: string | undefined,
  ) {}

  async load(signal: AbortSignal): Promise<KeyMaterial> {
    const [peerKey, apiToken] = await Promise.all([
      readSecret('PEER_KEY_FILE', this.peerKeyFile, signal),
      readSecret('API_TOKEN_FILE', this.apiTokenFile, signal),
    ]);
    return {
      ...(peerKey === undefined ? {} : { peerKey }),
      ...(apiToken === undefined ? {} : { apiToken: apiToken.toString('utf8') }),
    };
  }
}

/** @throws InvalidInputError `INVALID_KEY_FILE`, which names the file and never what is in it */
async function readSecret(
  setting: string,
  path: string | undefined,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  if (path === undefined) return undefined;
  let content: Buffer;
  try {
    content = await readFile(path, { signal });
  } catch (error) {
    signal.throwIfAborted();
    throw new InvalidInputError('INVALID_KEY_FILE', `${setting} cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
  const secret = withoutLineBreak(content);
  if (secret.length < MIN_SECRET_BYTES || secret.length > MAX_SECRET_BYTES) {
    throw new InvalidInputError(
      'INVALID_KEY_FILE',
      `${setting} "${path}" holds ${secret.length} bytes: ${MIN_SECRET_BYTES} to ${MAX_SECRET_BYTES} are accepted, such as "openssl rand -hex 32" writes`,
    );
  }
  return secret;
}

function withoutLineBreak(content: Buffer): Buffer {
  let end = content.length;
  if (content[end - 1] === 0x0a) end -= 1;
  if (content[end - 1] === 0x0d) end -= 1;
  return content.subarray(0, end);
}
