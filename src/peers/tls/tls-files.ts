import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';

import type { TlsFiles } from '../../config/app-config.js';
import { readSmallFile } from '../../common/small-file.js';
import { InvalidInputError, messageOf } from '../../domain/errors.js';

/** A certificate, its key, and who signs those of the others; PEM. */
export interface TlsMaterial {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer;
}

const MAX_FILE_BYTES = 1024 * 1024;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----.*?(?:-----END CERTIFICATE-----|$)/gs;

/** @throws InvalidInputError `INVALID_CERTIFICATE` when a file cannot be read, or they do not belong together */
export async function readTlsFiles({ certFile, keyFile, caFile }: TlsFiles): Promise<TlsMaterial> {
  const [cert, key, ca] = await Promise.all([
    read('TLS_CERT_FILE', certFile),
    read('TLS_KEY_FILE', keyFile),
    read('TLS_CA_FILE', caFile),
  ]);
  try {
    createSecureContext({ cert, key, ca });
    assertCertificates(ca);
  } catch (cause) {
    // OpenSSL's own words, and ours, name no content.
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

/**
 * OpenSSL takes the certificates of a CA file up to the first that it cannot read, be that none: whoever shows another's
 * would be refused without a word of why.
 */
function assertCertificates(ca: Buffer): void {
  const certificates = ca.toString('latin1').match(CERTIFICATE) ?? [];
  if (certificates.length === 0) throw new Error('the CA file has no certificate');
  for (const certificate of certificates) new X509Certificate(certificate);
}

async function read(setting: string, path: string): Promise<Buffer> {
  try {
    return await readSmallFile(path, MAX_FILE_BYTES);
  } catch (cause) {
    throw invalid(`${setting} cannot be read: ${messageOf(cause)}`, cause);
  }
}

function invalid(message: string, cause: unknown): InvalidInputError {
  return new InvalidInputError('INVALID_CERTIFICATE', message, { cause });
}
