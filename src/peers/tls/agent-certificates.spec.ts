import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Logger } from '@nestjs/common';

import { makeCertificates, type TestCertificates } from '../../../test/support/tls-front.js';
import { describeWith } from '../../../test/support/engines.js';
import { VirtualClock } from '../../../test/support/virtual-clock.js';
import { AgentCertificates } from './agent-certificates.js';

describeWith('openssl', 'AgentCertificates', () => {
  let directory: string;
  let first: TestCertificates;
  let second: TestCertificates;
  let clock: VirtualClock;
  let certificates: AgentCertificates;

  beforeAll(async () => {
    Logger.overrideLogger(false);
    [first, second] = [await makeCertificates('one.test'), await makeCertificates('two.test')];
  });
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'tls-'));
    clock = new VirtualClock();
    const at = (name: string): string => join(directory, name);
    const tls = { certFile: at('cert'), keyFile: at('key'), caFile: at('ca') };
    certificates = new AgentCertificates({ tls }, clock);
    await put('cert', first.server.cert);
    await put('key', first.server.key);
    await put('ca', first.ca);
  });
  afterEach(async () => {
    await certificates.onModuleDestroy();
    await rm(directory, { recursive: true });
  });

  const put = (name: string, bytes: Buffer): Promise<void> => writeFile(join(directory, name), bytes);

  it('has nothing without the settings', async () => {
    const none = new AgentCertificates({}, clock);
    await none.onModuleInit();
    await none.reload();
    expect(none.current).toBeUndefined();
    await none.onModuleDestroy();
  });

  it.each([
    ['a certificate without its key', 'key', () => second.server.key],
    ['what is no certificate', 'cert', () => Buffer.from('secret')],
    ['a CA file without a certificate', 'ca', () => Buffer.from('secret')],
    [
      'a CA file of which a part is missing',
      'ca',
      () => Buffer.concat([first.ca, second.ca.subarray(0, -60)]),
    ],
  ])('does not start on %s, and does not repeat it', async (_name, file, bytes) => {
    await put(file, bytes());
    const started = certificates.onModuleInit();
    await expect(started).rejects.toMatchObject({ code: 'INVALID_CERTIFICATE' });
    await expect(started).rejects.not.toThrow(/secret/);
  });

  it('tells of a change once, and keeps what it has while the files do not belong together', async () => {
    await certificates.onModuleInit();
    const told: Buffer[] = [];
    certificates.onChange(({ cert }) => told.push(cert));
    await certificates.reload();
    await put('cert', second.server.cert);
    await expect(certificates.reload()).rejects.toMatchObject({ code: 'INVALID_CERTIFICATE' });
    expect(certificates.current?.cert.equals(first.server.cert)).toBe(true);
    await put('key', second.server.key);
    await certificates.reload();
    await certificates.reload();
    expect(told).toEqual([second.server.cert]);
    expect(certificates.current?.cert.equals(second.server.cert)).toBe(true);
  });
});
