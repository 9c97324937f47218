import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';

import type { TlsFiles } from '../../config/app-config.js';
import { InvalidInputError, messageOf } from '../../domain/errors.js';

/** A certificate, its key, and who signs those of the others; PEM. */
export interface TlsMaterial {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer;
}

/** @throws InvalidInputError `INVALID_CERTIFICATE` when a file cannot be read, or they do not belong together */
export async function readTlsFiles({ certFile, keyFile, caFile }: TlsFiles): Promise<TlsMaterial> {
  const [cert, key, ca] = await Promise.all([
    read('TLS_CERT_FILE', certFile),
    read('TLS_KEY_FILE', keyFile),
    read('TLS_CA_FILE', caFile),
  ]);
  try {
    createSecureContext({ cert, key, ca });
  } catch (cause) {
    // OpenSSL's own words name no content.
    throw invalid(
      `${certFile}, ${keyFile} and ${caFile} cannot be used together: ${messageOf(cause)}`,
      cause,
    );
  }
  return { cert, key, ca };
}

export function isSameMaterial(left: TlsMaterial, right: TlsMaterial): boolean {
  return left.cert.equals(right.cert) && left.key.equals(right.key) && left.ca.equals(right.ca);
}

async function read(setting: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw invalid(`${setting} cannot be read: ${messageOf(cause)}`, cause);
  }
}

function invalid(message: string, cause: unknown): InvalidInputError {
  return new InvalidInputError('INVALID_CERTIFICATE', message, { cause });
}
