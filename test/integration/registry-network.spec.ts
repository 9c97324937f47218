import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';

import { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import { type ImageReference, parseImageReference } from '../../src/domain/image-reference.js';
import type { HostLookup } from '../../src/registry/net/host-lookup.js';
import { describeWith } from '../support/engines.js';
import { InstantClock } from '../support/instant-clock.js';
import { RecordingProxy } from '../support/recording-proxy.js';
import { TestRegistryClient, type TestRegistryClientOptions } from '../support/registry-client.js';
import { putSmallImage, type SmallImage } from '../support/small-image.js';
import { makeCertificates, type TestCertificates, TlsFront } from '../support/tls-front.js';

const NAME = 'registry.test';
const onThisMachine: HostLookup = () => Promise.resolve([{ address: '127.0.0.1', family: 4 }]);

describeWith('openssl', 'RegistryClient and TLS', () => {
  const { signal } = new AbortController();
  let registry: DemoRegistry;
  let certificates: TestCertificates;
  let image: SmallImage;
  let front: TlsFront;
  let proxy: RecordingProxy;
  let reference: ImageReference;
  let clock: InstantClock;
  const clients: TestRegistryClient[] = [];

  beforeAll(async () => {
    certificates = await makeCertificates(NAME);
    registry = await DemoRegistry.start();
    image = await putSmallImage(registry, 'team/app', '1.0');
    proxy = await RecordingProxy.start();
  });
  afterAll(() => Promise.all([registry.stop(), proxy.stop()]));

  beforeEach(() => {
    proxy.seen.length = 0;
    registry.ledger.clear();
    clock = new InstantClock();
  });
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.dispose()));
    await front.stop();
  });

  async function start({
    clientCertificates = false,
    ...options
  }: TestRegistryClientOptions & { clientCertificates?: boolean } = {}): Promise<TestRegistryClient> {
    front = await TlsFront.start(certificates, Number(registry.host.split(':')[1]), clientCertificates);
    reference = parseImageReference(`${NAME}:${front.port}/team/app:1.0`);
    const test = await TestRegistryClient.create({ clock, lookup: onThisMachine, ...options });
    clients.push(test);
    return test;
  }

  /** Writes files into `certs.d/<host>`. */
  async function trust(test: TestRegistryClient, files: Record<string, Buffer | string>): Promise<string> {
    const directory = join(test.directory, 'certs.d', reference.registry);
    await mkdir(directory, { recursive: true });
    for (const [name, content] of Object.entries(files)) await writeFile(join(directory, name), content);
    return directory;
  }

  it('trusts a private CA from the moment it is there, and no longer', async () => {
    const test = await start();
    const untrusted = test.client.resolve(reference, signal);
    await expect(untrusted).rejects.toMatchObject({ reason: 'registry_unreachable' });
    await expect(untrusted).rejects.toThrow(/certificate is not trusted .* REGISTRY_CERTS_DIR/);
    expect(clock.sleepsMs).toEqual([]);
    const directory = await trust(test, { 'ca.crt': certificates.ca });
    expect(await test.client.resolve(reference, signal)).toMatchObject({ digest: image.manifestDigest });
    const { stream } = await test.client.blob(reference, image.blobDigest, { start: 0 }, signal);
    expect((await buffer(stream)).equals(image.blob)).toBe(true);
    await rm(join(directory, 'ca.crt'));
    await expect(test.client.resolve(reference, signal)).rejects.toMatchObject({
      reason: 'registry_unreachable',
    });
  });

  it('shows a client certificate', async () => {
    const test = await start({ clientCertificates: true });
    const { cert, key } = certificates.client;
    await trust(test, { 'ca.crt': certificates.ca });
    await expect(test.client.resolve(reference, signal)).rejects.toMatchObject({
      reason: 'registry_unreachable',
    });
    await trust(test, { 'client.cert': cert, 'client.key': key });
    await expect(test.client.resolve(reference, signal)).resolves.toBeDefined();
  });

  it('names a client certificate without its key, and files that are no certificates', async () => {
    const test = await start();
    const directory = await trust(test, { 'client.cert': certificates.client.cert });
    await expect(test.client.resolve(reference, signal)).rejects.toThrow(/client\.key is missing/);
    await rm(join(directory, 'client.cert'));
    await trust(test, { 'ca.crt': certificates.ca, 'other.cert': 'no', 'other.key': 'secret' });
    const resolved = test.client.resolve(reference, signal);
    await expect(resolved).rejects.toMatchObject({ reason: 'unauthorized' });
    await expect(resolved).rejects.not.toThrow(/secret/);
  });

  it('does not follow a registry from HTTPS to HTTP', async () => {
    const test = await start();
    await trust(test, { 'ca.crt': certificates.ca });
    registry.behaviour.redirectTo = `${registry.url}/v2/team/app/blobs/${image.blobDigest}`;
    const opened = test.client.blob(reference, image.blobDigest, { start: 0 }, signal);
    await expect(opened).rejects.toThrow(/not HTTPS/);
    registry.behaviour.redirectTo = undefined;
  });

  it('goes through the proxy of its scheme, with the proxy’s own password', async () => {
    const url = new URL(`http://user:proxy%20secret@${proxy.host}`);
    const test = await start({ proxy: { httpsProxy: url.href, noProxy: [] } });
    await trust(test, { 'ca.crt': certificates.ca });
    expect(await test.client.resolve(reference, signal)).toMatchObject({ digest: image.manifestDigest });
    expect(proxy.seen).toEqual([`CONNECT ${reference.registry}`]);
    expect(proxy.credentials).toEqual([`Basic ${btoa('user:proxy secret')}`]);
  });

  it('goes past the proxy where NO_PROXY says so', async () => {
    const test = await start({ proxy: { httpsProxy: `http://${proxy.host}`, noProxy: ['.test'] } });
    await trust(test, { 'ca.crt': certificates.ca });
    await expect(test.client.resolve(reference, signal)).resolves.toBeDefined();
    expect(proxy.seen).toEqual([]);
  });

  describe('sent elsewhere through a proxy', () => {
    const lookup: HostLookup = (name) => {
      if (name === 'storage.test') return Promise.reject(new Error('known to the proxy alone'));
      const address = name === 'metadata.test' ? '169.254.169.254' : '127.0.0.1';
      return Promise.resolve([{ address, family: 4 }]);
    };

    /** Reads a blob of a registry in plain HTTP that redirects to `target`, all of it through the proxy. */
    async function readVia(target: (port: number) => string): Promise<Buffer> {
      const port = Number(registry.host.split(':')[1]);
      const plain = parseImageReference(`${NAME}:${port}/team/app:1.0`);
      const url = `http://${proxy.host}`;
      const insecure = [plain.registry, `metadata.test:${port}`, `storage.test:${port}`];
      const rules = { httpProxy: url, httpsProxy: url, noProxy: [] };
      const test = await start({ proxy: rules, insecure, lookup });
      const headers = { location: target(port) };
      registry.faults.add(/GET .*blobs/, { kind: 'status', status: 307, headers });
      const { stream } = await test.client.blob(plain, image.blobDigest, { start: 0 }, signal);
      return buffer(stream);
    }

    it.each([
      ['a name that leads there', (port: number) => `http://metadata.test:${port}/latest/meta-data`],
      ['a name that leads there, by HTTPS', () => 'https://metadata.test/latest/meta-data'],
      ['a name that leads to loopback, by HTTPS', () => 'https://evil.test/'],
      ['a name that only clouds know', () => 'https://metadata.google.internal/computeMetadata/v1/'],
      ['an address', () => 'https://169.254.169.254/latest/meta-data'],
      ['an address in another', () => 'https://[64:ff9b::a9fe:a9fe]/latest/meta-data'],
    ])('goes to no metadata: %s', async (_, target) => {
      await expect(readVia(target)).rejects.toThrow(/address, which is not followed/);
      expect(proxy.seen).toEqual([expect.stringMatching(/^GET registry\.test/)]);
    });

    it('goes where our own resolver knows no name', async () => {
      const read = await readVia(
        (port) => `http://storage.test:${port}/v2/team/app/blobs/${image.blobDigest}`,
      );
      expect(read.equals(image.blob)).toBe(true);
      expect(proxy.seen).toHaveLength(2);
    });
  });

  it('forwards plain HTTP through its proxy, but not to loopback', async () => {
    const port = Number(registry.host.split(':')[1]);
    const plain = parseImageReference(`${NAME}:${port}/team/app:1.0`);
    const rules = { httpProxy: `http://${proxy.host}`, noProxy: [] };
    const test = await start({ proxy: rules, insecure: [plain.registry] });
    const { stream } = await test.client.blob(plain, image.blobDigest, { start: 0 }, signal);
    expect((await buffer(stream)).equals(image.blob)).toBe(true);
    expect(proxy.seen).toEqual([`GET ${plain.registry}`]);
    await test.client.resolve(parseImageReference(`${registry.host}/team/app:1.0`), signal);
    expect(proxy.seen).toHaveLength(1);
  });
});
