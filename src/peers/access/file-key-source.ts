import { readFile } from 'node:fs/promises';

import { InvalidInputError, messageOf } from '../../domain/errors.js';
import type { KeyMaterial, KeySource } from './key-source.js';
import { parseSecretValue } from './secret-value.js';

/** `PEER_KEY_FILE` and `API_TOKEN_FILE`, each optional. */
export class FileKeySource implements KeySource {
  readonly pollIntervalMs = 5_000;

  constructor(
    private readonly peerKeyFile: string | undefined,
    private readonly apiTokenFile: string | undefined,
  ) {}

  /** @throws InvalidInputError `INVALID_SECRET` */
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

async function readSecret(
  setting: string,
  path: string | undefined,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  if (path === undefined) return undefined;
  let content: Buffer;
  try {
    content = await readFile(path, { signal });
  } catch (cause) {
    signal.throwIfAborted();
    throw new InvalidInputError('INVALID_SECRET', `${setting} cannot be read: ${messageOf(cause)}`, {
      cause,
    });
  }
  return parseSecretValue(content, `${setting} "${path}"`);
}
