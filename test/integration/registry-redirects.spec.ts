import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';

import { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import { type ImageReference, parseImageReference } from '../../src/domain/image-reference.js';
import type { HostLookup } from '../../src/registry/net/host-lookup.js';
import { InstantClock } from '../support/instant-clock.js';
import { TestRegistryClient } from '../support/registry-client.js';
import { putSmallImage, type SmallImage } from '../support/small-image.js';
import { Trap } from '../support/trap.js';

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

  /** Sends blobs to a server of its own, on another port, for as long as `work` runs. */
  async function sentElsewhere(listener: RequestListener, work: () => Promise<void>): Promise<void> {
    const server = createServer(listener).listen(0, '127.0.0.1');
    await once(server, 'listening');
    registry.behaviour.redirectTo = `http://127.0.0.1:${(server.address() as AddressInfo).port}/blob`;
    try {
      await work();
    } finally {
      server.closeAllConnections();
      server.close();
    }
  }

  it.each([
    ['asks for nothing itself', () => void (registry.behaviour.auth = { kind: 'none' })],
    ['has taken the credential before', () => test.client.resolve(reference, signal)],
  ])('asks for no token where another host says that there is one: the registry %s', async (_, before) => {
    await before();
    const trap = await Trap.start();
    const challenge = `Bearer realm="http://127.0.0.1:${trap.port}/token",service="registry"`;
    const listener: RequestListener = (_request, response) => {
      response.writeHead(401, { 'www-authenticate': challenge }).end();
    };
    await sentElsewhere(listener, async () => {
      await expect(open()).rejects.toMatchObject({ reason: 'unauthorized' });
    });
    expect(trap.visits).toBe(0);
    await trap.stop();
  });

  it('shows the credential no more once it was sent elsewhere, not even back where it belongs', async () => {
    const listener: RequestListener = (_request, response) => {
      response.writeHead(307, { location: `${registry.url}/v2/team/app/manifests/1.0` }).end();
    };
    await sentElsewhere(listener, async () => {
      await expect(open()).rejects.toMatchObject({ reason: 'unauthorized' });
    });
    const sentBack = asked('registry').filter(({ path }) => path.includes('/manifests/'));
    expect(sentBack.length).toBeGreaterThan(0);
    expect(sentBack.some(({ authorization }) => authorization !== undefined)).toBe(false);
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

  const loopback = { address: '127.0.0.1', family: 4 };
  const elsewhere = { address: '203.0.113.7', family: 4 };

  /** Reads a blob from `host`, which redirects to `evil.test`; both names lead to this machine. */
  async function readVia(host: string, evil: Awaited<ReturnType<HostLookup>>): Promise<Buffer> {
    const port = registry.host.split(':')[1]!;
    const path = `/v2/team/app/blobs/${image.blobDigest}`;
    registry.faults.add(/GET .*blobs/, {
      kind: 'status',
      status: 307,
      headers: { location: `http://evil.test:${port}${path}?token=secret` },
    });
    const lookup: HostLookup = (name) => Promise.resolve(name === 'evil.test' ? evil : [loopback]);
    const insecure = [`registry.test:${port}`, `evil.test:${port}`];
    const test = await TestRegistryClient.create({ clock: new InstantClock(), lookup, insecure });
    try {
      const reference = parseImageReference(`${host}:${port}/team/app:1.0`);
      return await buffer((await test.client.blob(reference, image.blobDigest, { start: 0 }, signal)).stream);
    } finally {
      await test.dispose();
    }
  }

  // Its name leads to loopback too: that is for its owner to say, and is nobody's leave to go there.
  it('does not follow a registry that has a name to loopback, whatever the name', async () => {
    const read = readVia('registry.test', [elsewhere, loopback]);
    await expect(read).rejects.toMatchObject({ reason: 'registry_error' });
    await expect(read).rejects.not.toThrow(/secret|evil/);
    expect(registry.ledger.requests).toHaveLength(1);
  });

  it('follows a registry that is named by a loopback address', async () => {
    expect((await readVia('127.0.0.1', [loopback])).equals(image.blob)).toBe(true);
  });

  it('does not follow a registry in plain HTTP to hosts that INSECURE_REGISTRIES does not name', async () => {
    const port = registry.host.split(':')[1]!;
    const host = `registry.test:${port}`;
    registry.behaviour.redirectTo = `http://intranet.test:${port}/v2/team/app/blobs/${image.blobDigest}`;
    const clock = new InstantClock();
    const lookup: HostLookup = () => Promise.resolve([loopback]);
    const test = await TestRegistryClient.create({ clock, lookup, insecure: [host] });
    const reference = parseImageReference(`${host}/team/app:1.0`);
    const opened = test.client.blob(reference, image.blobDigest, { start: 0 }, signal);
    await expect(opened).rejects.toThrow(/INSECURE_REGISTRIES does not name/);
    await test.dispose();
  });
});
