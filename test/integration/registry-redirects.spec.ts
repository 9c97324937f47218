import { buffer } from 'node:stream/consumers';

import { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import { type ImageReference, parseImageReference } from '../../src/domain/image-reference.js';
import type { HostLookup } from '../../src/registry/net/host-lookup.js';
import { InstantClock } from '../support/instant-clock.js';
import { TestRegistryClient } from '../support/registry-client.js';
import { putSmallImage, type SmallImage } from '../support/small-image.js';

const LOGIN = { username: 'alice', password: 'secret-1' };

describe('RegistryClient and redirects', () => {
  const { signal } = new AbortController();
  let registry: DemoRegistry;
  let test: TestRegistryClient;
  let image: SmallImage;
  let reference: ImageReference;

  beforeEach(async () => {
    registry = await DemoRegistry.start({ redirectExpiryMs: 30_000, auth: { kind: 'basic', ...LOGIN } });
    image = await putSmallImage(registry, 'team/app', '1.0');
    reference = parseImageReference(`${registry.host}/team/app:1.0`);
    test = await TestRegistryClient.create({ clock: new InstantClock() });
    await test.login(registry.host, LOGIN.username, LOGIN.password);
  });
  afterEach(async () => {
    await test.dispose();
    await registry.stop();
  });

  const asked = (server: 'registry' | 'storage') =>
    registry.ledger.requests.filter((entry) => entry.server === server);
  const open = (start = 0) => test.client.blob(reference, image.blobDigest, { start }, signal);

  it('reads a blob from where it is sent, without the credential', async () => {
    expect((await buffer((await open()).stream)).equals(image.blob)).toBe(true);
    expect(asked('registry').at(-1)?.authorization).toBe('basic');
    expect(asked('storage').map(({ authorization }) => authorization)).toEqual([undefined]);
  });

  it('continues a blob there', async () => {
    const { start, stream } = await open(1234);
    expect(start).toBe(1234);
    expect((await buffer(stream)).equals(image.blob.subarray(1234))).toBe(true);
    expect(asked('storage').map(({ range }) => range)).toEqual(['bytes=1234-']);
  });

  it('asks the registry for a new URL each time', async () => {
    await buffer((await open()).stream);
    await buffer((await open(1)).stream);
    // The first of the three was refused: nothing is sent before the registry asks for it.
    expect(asked('registry')).toHaveLength(3);
  });

  it('asks the registry again when the URL has expired', async () => {
    registry.faults.add(/GET \/storage/, { kind: 'status', status: 403 });
    expect((await buffer((await open()).stream)).equals(image.blob)).toBe(true);
    expect(asked('storage').map(({ status }) => status)).toEqual([403, 200]);
    registry.behaviour.redirectExpiryMs = 0.001;
    registry.ledger.clear();
    await expect(open()).rejects.toMatchObject({ reason: 'unauthorized' });
    expect([asked('registry'), asked('storage')].map(({ length }) => length)).toEqual([3, 3]);
  });

  it('gives no credential to another host that asks for one', async () => {
    const other = await DemoRegistry.start({ auth: { kind: 'basic', ...LOGIN } });
    registry.behaviour.redirectTo = `${other.url}/v2/team/app/blobs/${image.blobDigest}`;
    await expect(open()).rejects.toMatchObject({ reason: 'unauthorized' });
    expect(other.ledger.requests.length).toBeGreaterThan(0);
    expect(other.ledger.requests.some(({ authorization }) => authorization !== undefined)).toBe(false);
    await other.stop();
  });

  it('gives up on a circle', async () => {
    registry.behaviour.redirectTo = `/v2/team/app/blobs/${image.blobDigest}`;
    await expect(open()).rejects.toMatchObject({ reason: 'registry_error' });
    expect(asked('registry')).toHaveLength(1 + 6);
  });

  it.each([
    'ftp://127.0.0.1/x',
    'file:///etc/passwd',
    'http://user:secret@127.0.0.1/x',
    'http://[/',
    'http://169.254.169.254/latest/meta-data?secret',
    'http://[fe80::1]/x?secret',
    'http://[::ffff:169.254.169.254]/x?secret',
    'http://2852039166/x?secret',
  ])('does not follow to %s', async (target) => {
    registry.behaviour.redirectTo = target;
    const opened = open();
    await expect(opened).rejects.toMatchObject({ reason: 'registry_error' });
    await expect(opened).rejects.not.toThrow(/secret|passwd|latest/);
  });
});

describe('RegistryClient and names that lead to this machine', () => {
  const { signal } = new AbortController();
  let registry: DemoRegistry;
  let image: SmallImage;

  beforeEach(async () => {
    registry = await DemoRegistry.start();
    image = await putSmallImage(registry, 'team/app', '1.0');
  });
  afterEach(() => registry.stop());

  /** Reads a blob from `registry.test`, which redirects to `evil.test`; both answer on this machine. */
  async function readVia(lookup: HostLookup): Promise<Buffer> {
    const port = registry.host.split(':')[1]!;
    const path = `/v2/team/app/blobs/${image.blobDigest}`;
    registry.faults.add(/GET .*blobs/, {
      kind: 'status',
      status: 307,
      headers: { location: `http://evil.test:${port}${path}?token=secret` },
    });
    const clock = new InstantClock();
    const test = await TestRegistryClient.create({ clock, lookup, insecure: [`registry.test:${port}`] });
    try {
      const reference = parseImageReference(`registry.test:${port}/team/app:1.0`);
      return await buffer((await test.client.blob(reference, image.blobDigest, { start: 0 }, signal)).stream);
    } finally {
      await test.dispose();
    }
  }

  const loopback = { address: '127.0.0.1', family: 4 };
  const elsewhere = { address: '203.0.113.7', family: 4 };

  it('does not follow a registry from elsewhere to loopback, whatever the name', async () => {
    let asked = 0;
    const lookup: HostLookup = (name) => {
      // The connection itself has to reach the test's registry; the second look is the guard's.
      if (name === 'registry.test') return Promise.resolve([asked++ === 0 ? loopback : elsewhere]);
      return Promise.resolve([elsewhere, loopback]);
    };
    const read = readVia(lookup);
    await expect(read).rejects.toMatchObject({ reason: 'registry_error' });
    await expect(read).rejects.not.toThrow(/secret|evil/);
    expect(registry.ledger.requests).toHaveLength(1);
  });

  it('follows a registry that is on loopback itself', async () => {
    expect((await readVia(() => Promise.resolve([loopback]))).equals(image.blob)).toBe(true);
  });
});
