import { X509Certificate } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import fc from 'fast-check';

import { readTlsFiles } from '../../src/peers/tls/tls-files.js';
import { describeWith } from '../support/engines.js';
import { coded, fuzz } from '../support/fuzz.js';
import { mutatedBytes } from '../support/mutations.js';
import { makeCertificates } from '../support/tls-front.js';

const FUZZ_MS = 300_000;

describeWith('openssl', 'The reader of TLS_* files', () => {
  it(
    'takes those that belong together, with every certificate of the CA file, or refuses them with a code',
    async () => {
      const directory = await mkdtemp(join(tmpdir(), 'tls-'));
      const at = (name: string): string => join(directory, name);
      const { ca, server, client } = await makeCertificates('one.test');
      const usual = { ca, cert: server.cert, key: server.key };
      const bytes = fc.oneof(
        ...[ca, Buffer.concat([ca, client.cert]), server.cert, server.key].map(mutatedBytes),
        fc.constantFrom(client.key, client.cert, Buffer.alloc(0)),
      );
      try {
        await fuzz(
          'TLS files',
          fc.record({ name: fc.constantFrom('ca', 'ca', 'cert', 'key'), bytes }),
          async (odd) => {
            for (const [name, content] of Object.entries(usual)) await writeFile(at(name), content);
            await writeFile(at(odd.name), odd.bytes);
            const files = { caFile: at('ca'), certFile: at('cert'), keyFile: at('key') };
            const material = await coded(() => readTlsFiles(files));
            if (!material) return;
            const named = material.ca.toString('latin1').split('-----BEGIN CERTIFICATE-----').slice(1);
            expect(named.length).toBeGreaterThan(0);
            for (const one of named) new X509Certificate(`-----BEGIN CERTIFICATE-----${one}`);
          },
          100,
        );
      } finally {
        await rm(directory, { recursive: true });
      }
    },
    FUZZ_MS,
  );
});
