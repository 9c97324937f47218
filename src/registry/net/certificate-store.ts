import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';

import { Inject, Injectable } from '@nestjs/common';

import { AppConfig } from '../../config/app-config.js';
import { messageOf, PreheatFailure } from '../../domain/errors.js';
import { isRegistryHost } from '../../domain/image-reference.js';

/** TLS material for one host; `version` differs whenever a file differs. */
export interface HostCertificates {
  readonly version: string;
  readonly secureContext: SecureContext;
}

const RELEVANT = /\.(?:crt|cert|key)$/;
/** A certificate file above this is not one. */
const MAX_FILE_BYTES = 1024 * 1024;

/**
 * `REGISTRY_CERTS_DIR` in Docker's layout: `<host[:port]>/*.crt` are CAs trusted beside the usual ones for that host,
 * `NAME.cert` with `NAME.key` is a client certificate. Read again when a file changes.
 */
@Injectable()
export class CertificateStore {
  private readonly directory: string;
  private readonly known = new Map<string, HostCertificates>();

  constructor(@Inject(AppConfig) { registry }: Pick<AppConfig, 'registry'>) {
    this.directory = registry.certsDir;
  }

  /**
   * @param host host with optional port, as in a URL
   * @returns undefined when the host has no directory, or nothing of use in it
   * @throws PreheatFailure `unauthorized` when a certificate lacks its key, or a file cannot be used
   */
  async find(host: string): Promise<HostCertificates | undefined> {
    const directory = join(this.directory, host);
    // A host comes from a redirect too: one such as ".." must not name another directory.
    const files = isRegistryHost(host) ? await list(directory) : [];
    if (files.length === 0) {
      this.known.delete(host);
      return undefined;
    }
    const version = files.map(({ name, stamp }) => `${name} ${stamp}`).join('\n');
    const known = this.known.get(host);
    if (known?.version === version) return known;
    const names = files.map(({ name }) => name);
    const certificates = { version, secureContext: await load(host, directory, names) };
    this.known.set(host, certificates);
    return certificates;
  }
}

async function list(directory: string): Promise<{ name: string; stamp: string }[]> {
  let names: string[];
  try {
    names = await readdir(directory);
  } catch {
    // Absent is the rule; one that may not be read shows itself when the server's certificate is not trusted.
    return [];
  }
  const files = names
    .filter((name) => RELEVANT.test(name))
    .sort()
    .map(async (name) => {
      const { mtimeMs, size, ino } = await stat(join(directory, name));
      return { name, stamp: `${mtimeMs} ${size} ${ino}` };
    });
  return (await Promise.allSettled(files)).flatMap((file) =>
    file.status === 'fulfilled' ? [file.value] : [],
  );
}

async function load(host: string, directory: string, names: readonly string[]): Promise<SecureContext> {
  const read = async (name: string): Promise<Buffer> => {
    const path = join(directory, name);
    if ((await stat(path)).size > MAX_FILE_BYTES) throw new Error(`${name} is too large`);
    return readFile(path);
  };
  const readAll = (wanted: readonly string[]): Promise<Buffer[]> => Promise.all(wanted.map(read));
  const clients = names.filter((name) => name.endsWith('.cert'));
  const keys = clients.map((name) => name.replace(/\.cert$/, '.key'));
  try {
    const orphan = keys.find((key) => !names.includes(key));
    if (orphan !== undefined) throw new Error(`${orphan} is missing`);
    return createSecureContext({
      // Setting `ca` replaces the usual roots, so they are named too.
      ca: [
        ...getCACertificates('default'),
        ...(await readAll(names.filter((name) => name.endsWith('.crt')))),
      ],
      cert: await readAll(clients),
      key: await readAll(keys),
    });
  } catch (cause) {
    throw new PreheatFailure(
      'unauthorized',
      `the certificates of ${host} cannot be used: ${messageOf(cause)}`,
      { cause },
    );
  }
}
