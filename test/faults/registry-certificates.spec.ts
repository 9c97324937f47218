import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describeWith } from '../support/engines.js';
import { FaultScene, READY_MS, survive } from '../support/fault-scene.js';
import { RecordingProxy } from '../support/recording-proxy.js';
import { makeCertificates, type TestCertificates, TlsFront } from '../support/tls-front.js';

const CASE_MS = 2 * READY_MS;
const NAME = 'registry.test';

describeWith('openssl', 'Certificates of registries', () => {
  let scene: FaultScene;
  let certsDirectory: string;
  let good: TestCertificates;

  beforeAll(async () => {
    certsDirectory = await mkdtemp(join(tmpdir(), 'certs-'));
    good = await makeCertificates(NAME);
    // A registry on loopback is spoken to in plain HTTP; a name that a proxy takes there is not.
    const proxy = await RecordingProxy.start();
    scene = await FaultScene.start({
      HTTPS_PROXY: `http://${proxy.host}`,
      REGISTRY_CERTS_DIR: certsDirectory,
    });
    await scene.cleanup.track(Promise.resolve(proxy), (started) => started.stop());
  }, CASE_MS);
  afterAll(async () => {
    await scene.cleanup.run();
    await rm(certsDirectory, { recursive: true });
  }, CASE_MS);

  async function trust(host: string, ...authorities: readonly TestCertificates[]): Promise<void> {
    const directory = join(certsDirectory, host);
    await mkdir(directory, { recursive: true });
    for (const [index, { ca }] of authorities.entries()) await writeFile(join(directory, `${index}.crt`), ca);
  }

  interface Row {
    readonly words: RegExp;
    readonly certificates: () => Promise<TestCertificates>;
    readonly isTrusted: boolean;
  }
  const rows: [string, Row][] = [
    [
      'of a CA that is not trusted',
      {
        words: /is not trusted .* REGISTRY_CERTS_DIR/,
        certificates: () => Promise.resolve(good),
        isTrusted: false,
      },
    ],
    [
      'that has expired',
      { words: /has expired/, certificates: () => makeCertificates(NAME, -1), isTrusted: true },
    ],
    [
      'for another name',
      { words: /is for another name/, certificates: () => makeCertificates('other.test'), isTrusted: true },
    ],
  ];

  it.each(rows)(
    'one %s: says so, and the image becomes ready when that is mended',
    async (fault, { words, certificates, isTrusted }) => {
      await survive(`registry: a certificate ${fault}`, async () => {
        const shown = await certificates();
        const front = await TlsFront.start(shown, Number(scene.registry.host.split(':')[1]), false);
        await scene.cleanup.track(Promise.resolve(front), (started) => started.stop());
        const host = `${NAME}:${front.port}`;
        if (isTrusted) await trust(host, shown, good);
        const { name } = await scene.newImage();
        const reference = `${host}/team/${name}:1.0`;
        await scene.want(reference);
        const { message, retryAt } = await scene.seenFailing(reference, 'registry_unreachable', words);
        expect(Date.parse(retryAt ?? '')).toBeGreaterThan(0);
        front.renew(good);
        await trust(host, shown, good);
        await scene.forgetRecords();
        await scene.expectReady(reference);
        return `registry_unreachable: ${message}; ready when mended`;
      });
    },
    CASE_MS,
  );
});
