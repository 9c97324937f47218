import { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import { parseImageReference } from '../../src/domain/image-reference.js';
import type { HostLookup } from '../../src/registry/net/host-lookup.js';
import { Cleanup } from '../support/cleanup.js';
import { InstantClock } from '../support/instant-clock.js';
import { TestRegistryClient } from '../support/registry-client.js';
import { putSmallImage } from '../support/small-image.js';
import { tally } from '../support/tally.js';
import { startTarget, type Target } from '../support/target.js';
import { Trap } from '../support/trap.js';

const SETUP_MS = 180_000;
const NOT_FOLLOWED = /address, which is not followed/;
const { signal } = new AbortController();

describe('POST /images/preheat', () => {
  const cleanup = new Cleanup();
  let target: Target;
  let trap: Trap;

  beforeAll(async () => {
    trap = await cleanup.track(Trap.start(), (started) => started.stop());
    target = await startTarget(cleanup, 1, { ALLOWED_REGISTRIES: 'allowed.test:5000' });
  }, SETUP_MS);

  afterAll(() => cleanup.run(), 60_000);

  const LOCAL = [
    '127.0.0.1',
    'localhost',
    'LOCALHOST',
    'localhost.',
    'a.localhost',
    '[::1]',
    '[::ffff:127.0.0.1]',
    '[0:0:0:0:0:0:0:1]',
    '0.0.0.0',
    '[::]',
    '127.1',
    '127.0.0.2',
    '2130706433',
    '0x7f000001',
    '017700000001',
    '169.254.169.254',
    '[fe80::1]',
    '[::ffff:169.254.169.254]',
    '[::ffff:7f00:1]',
    'metadata.google.internal',
    'registry.test',
    'allowed.test',
    'allowed.test.',
  ];

  it(
    'sends no agent to a host that is neither in the list nor allowed, however it is written',
    async () => {
      const [agent] = target.agents;
      const statuses = new Set<number>();
      for (const host of LOCAL) {
        for (const image of [
          `${host}:${trap.port}/team/app:1`,
          `${host}:${trap.port}/a@sha256:${'0'.repeat(64)}`,
        ]) {
          tally('bad inputs tried');
          const answer = await fetch(`${agent.url}/images/preheat`, {
            method: 'POST',
            headers: { 'content-type': 'application/json', ...target.cluster.authorization },
            body: JSON.stringify({ images: [target.image, image] }),
          });
          const { code } = (await answer.json()) as { code: string };
          if (answer.ok) tally('unauthorised answers given');
          expect({ host, code }).toEqual({
            host,
            code: expect.stringMatching(/^(REGISTRY_NOT_ALLOWED|INVALID_REFERENCE)$/) as string,
          });
          statuses.add(answer.status);
        }
      }
      expect([...statuses].sort()).toEqual([400, 403]);
      expect(trap.visits).toBe(0);
      expect((await agent.images()).map(({ image }) => image)).toEqual([target.image]);
    },
    SETUP_MS,
  );
});

describe('A hostile registry that is allowed', () => {
  const loopback = { address: '127.0.0.1', family: 4 };
  const elsewhere = { address: '203.0.113.7', family: 4 };
  const linkLocal = { address: '169.254.169.254', family: 4 };
  const [loopback6, linkLocal6, mapped] = ['::1', 'fe80::1', '::ffff:127.0.0.1'].map((address) => ({
    address,
    family: 6,
  })) as [typeof loopback, typeof loopback, typeof loopback];
  const LOGIN = { username: 'alice', password: 'secret-1' };
  let trap: Trap;
  let registry: DemoRegistry;

  beforeEach(async () => {
    trap = await Trap.start();
    registry = await DemoRegistry.start();
    await putSmallImage(registry, 'team/app', '1.0');
  });
  afterEach(async () => {
    await registry.stop();
    await trap.stop();
  });

  /**
   * Resolves a tag at `registry.test`, which is on this machine, as any name may be.
   * @param others addresses of the other names, one answer after another; the last holds
   */
  async function resolveAt(
    others: readonly (readonly { address: string; family: number }[])[],
  ): Promise<unknown> {
    let turn = 0;
    const lookup: HostLookup = (name) => {
      if (name === 'registry.test') return Promise.resolve([loopback]);
      return Promise.resolve(others[Math.min(turn++, others.length - 1)] ?? []);
    };
    const port = registry.host.split(':')[1]!;
    const host = `registry.test:${port}`;
    // As if the operator had trusted it with plain HTTP everywhere: where names and addresses lead is looked at all the same.
    const insecure = [
      host,
      ...realms.map(([, realm]) => new URL(realm(trap.port)).host),
      `auth.test:${trap.port}`,
    ];
    const test = await TestRegistryClient.create({ clock: new InstantClock(), lookup, insecure });
    await test.login(host, LOGIN.username, LOGIN.password);
    tally('bad inputs tried');
    try {
      return await test.client.resolve(parseImageReference(`${host}/team/app:1.0`), signal);
    } finally {
      await test.dispose();
    }
  }

  const realms: [string, (port: number) => string][] = [
    ['an address of loopback', (port) => `http://127.0.0.1:${port}/token`],
    ['loopback in IPv6', (port) => `http://[::1]:${port}/token`],
    ['IPv4 in IPv6', (port) => `http://[::ffff:127.0.0.1]:${port}/token`],
    ['loopback as a number', (port) => `http://2130706433:${port}/token`],
    ['every address of the machine', (port) => `http://0.0.0.0:${port}/token`],
    ['a cloud’s metadata', () => 'http://169.254.169.254/latest/api/token'],
    ['link-local in IPv6', (port) => `http://[fe80::1]:${port}/token`],
    ['a cloud’s metadata in IPv6', () => 'http://[::ffff:169.254.169.254]/latest/api/token'],
    ['AWS’s metadata in IPv6', () => 'http://[fd00:ec2::254]/latest/api/token'],
    ['Alibaba’s metadata', () => 'http://100.100.100.200/latest/api/token'],
    ['loopback behind NAT64', (port) => `http://[64:ff9b::7f00:1]:${port}/token`],
    ['a cloud’s metadata behind NAT64', () => 'http://[64:ff9b::a9fe:a9fe]/latest/api/token'],
    ['loopback behind 6to4', (port) => `http://[2002:7f00:1::1]:${port}/token`],
    ['IPv4-compatible loopback', (port) => `http://[::127.0.0.1]:${port}/token`],
    ['a cloud’s metadata by name', () => 'http://metadata.google.internal/computeMetadata/v1/'],
  ];

  it.each(realms)('gets no credential sent to a token realm that is %s', async (_name, realm) => {
    registry.behaviour.auth = { kind: 'token', ...LOGIN, expiresInMs: 60_000, realm: realm(trap.port) };
    await expect(resolveAt([[elsewhere]])).rejects.toThrow(NOT_FOLLOWED);
    expect(trap.visits).toBe(0);
  });

  it.each([
    ['loopback', [[loopback]]],
    ['a cloud’s metadata', [[linkLocal]]],
    ['loopback in IPv6', [[loopback6]]],
    ['link-local in IPv6', [[linkLocal6]]],
    ['IPv4 in IPv6', [[mapped]]],
    ['one place that is fine and one that is not', [[elsewhere, loopback]]],
    ['one place that is fine and one in IPv6 that is not', [[elsewhere, loopback6]]],
  ])('gets no credential sent to a token realm whose name leads to %s', async (_name, addresses) => {
    const realm = `http://auth.test:${trap.port}/token`;
    registry.behaviour.auth = { kind: 'token', ...LOGIN, expiresInMs: 60_000, realm };
    await expect(resolveAt(addresses)).rejects.toThrow(NOT_FOLLOWED);
    expect(trap.visits).toBe(0);
  });

  it('gains nothing by a name that leads elsewhere each time it is asked for', async () => {
    const realm = `http://auth.test:${trap.port}/token`;
    registry.behaviour.auth = { kind: 'token', ...LOGIN, expiresInMs: 60_000, realm };
    // What was looked at is what is connected to: there is no second look in between. The first place does not answer.
    const rebinding = [[{ address: '127.0.0.1', family: 4 }], [elsewhere], [loopback]];
    await expect(resolveAt(rebinding)).rejects.toThrow(NOT_FOLLOWED);
    expect(trap.visits).toBe(0);
  });

  it.each(realms)('redirects no request for a manifest to %s', async (_name, location) => {
    const headers = { location: location(trap.port) };
    registry.faults.add(/manifests/, { kind: 'status', status: 307, headers }, 10);
    await expect(resolveAt([[loopback]])).rejects.toThrow(NOT_FOLLOWED);
    expect(trap.visits).toBe(0);
  });
});
