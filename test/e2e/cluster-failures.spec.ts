import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { systemClock } from '../../src/common/clock.js';
import type { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import { FileLockStore } from '../../src/lock/file/file-lock-store.js';
import type { AgentCluster } from '../support/agent-cluster.js';
import type { AgentImage } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { addImage, startDemoRegistry } from '../support/demo-images.js';
import {
  idWhenReady,
  IS_FULL_PROFILE,
  prepareDirectoryCluster,
  wrongBlobs,
} from '../support/directory-cluster.js';
import { freePort } from '../support/free-port.js';

const KIB = 1024;
const MINUTE_MS = 60_000;
const READY_MS = 120_000;

describe('A wrong tag and a wrong password', () => {
  const AGENTS = IS_FULL_PROFILE ? 20 : 10;
  const DURATION_MS = IS_FULL_PROFILE ? 5 * MINUTE_MS : 30_000;
  /** In five minutes. In the short profile the second round, five minutes after the first, cannot come: half of it. */
  const MAX_REQUESTS = IS_FULL_PROFILE ? 8 : 4;
  const cleanup = new Cleanup();
  let open: DemoRegistry;
  let closed: DemoRegistry;
  let cluster: AgentCluster;
  let untagged: string;
  let secret: string;

  beforeAll(async () => {
    open = await startDemoRegistry(cleanup);
    closed = await startDemoRegistry(cleanup, {
      auth: { kind: 'basic', username: 'user', password: 'right' },
    });
    await addImage(closed, 'team/secret', 64 * KIB);
    untagged = `${open.host}/team/untagged:1.0`;
    secret = `${closed.host}/team/secret:1.0`;
    cluster = await prepareDirectoryCluster(cleanup, AGENTS);
    for (const agent of cluster.agents) agent.set('REGISTRY_CONFIG', join(cluster.directory, 'config.json'));
    await usePassword('wrong');
    await cluster.list(untagged, secret);
    cluster.start();
  }, READY_MS);

  afterAll(() => cleanup.run(), MINUTE_MS);

  async function usePassword(password: string): Promise<void> {
    const auth = Buffer.from(`user:${password}`).toString('base64');
    await writeFile(
      join(cluster.directory, 'config.json'),
      JSON.stringify({ auths: { [closed.host]: { auth } } }),
    );
  }

  const failed = (image: string, reason: string): Promise<AgentImage[]> =>
    Promise.all(
      cluster.agents.map((agent) =>
        agent.wait(`${image}: ${reason}`, READY_MS, async () =>
          (await agent.images()).find((status) => status.image === image && status.reason === reason),
        ),
      ),
    );

  it(
    'cost the registry a few requests per image, however many agents want it, and each says why it waits',
    async () => {
      const startedMs = performance.now();
      const statuses = (
        await Promise.all([failed(untagged, 'not_found'), failed(secret, 'unauthorized')])
      ).flat();
      expect(statuses.every(({ retryAt }) => Date.parse(retryAt ?? '') > Date.now() - MINUTE_MS)).toBe(true);
      await delay(Math.max(0, DURATION_MS - (performance.now() - startedMs)));
      const requests = [open.ledger.count(/team\/untagged/), closed.ledger.count(/team\/secret/)];
      process.stdout.write(
        `${AGENTS} agents, ${Math.round((performance.now() - startedMs) / 1000)} s: ` +
          `${requests.join(' and ')} requests for a wrong tag and a wrong password\n`,
      );
      for (const count of requests) {
        expect(count).toBeGreaterThan(0);
        expect(count).toBeLessThanOrEqual(MAX_REQUESTS);
      }
    },
    READY_MS + DURATION_MS,
  );

  it(
    'are over for all once they are mended',
    async () => {
      await addImage(open, 'team/untagged', 64 * KIB);
      await usePassword('right');
      // Five minutes are too long for the short profile: it does what an operator may who cannot wait.
      if (!IS_FULL_PROFILE) await removeRecords(join(cluster.directory, 'lock.json'));
      const limitMs = IS_FULL_PROFILE ? 7 * MINUTE_MS : READY_MS;
      await Promise.all([untagged, secret].map((image) => idWhenReady(cluster.agents, image, limitMs)));
    },
    8 * MINUTE_MS,
  );
});

async function removeRecords(file: string): Promise<void> {
  const store = new FileLockStore(file, systemClock);
  const { signal } = new AbortController();
  for (const [key, text] of await store.read('latest', signal))
    await store.compareAndSwap(key, text, undefined, signal);
}

describe('A registry that misbehaves', () => {
  const cleanup = new Cleanup();
  const BLOBS = (name: string): RegExp => new RegExp(`^GET /v2/team/${name}/blobs/`);
  let cluster: AgentCluster;

  beforeAll(async () => {
    cluster = await prepareDirectoryCluster(cleanup, 3, {
      PREHEAT_CONCURRENCY: '8',
      // Eight images are asked about ten times a second each.
      API_RATE_LIMIT: '0',
    });
  });

  afterAll(() => cleanup.run(), MINUTE_MS);

  it(
    'is got along with: 429, 500, cut bodies, hangs, wrong bytes, no Range',
    async () => {
      const registry = await startDemoRegistry(cleanup);
      const plain = await startDemoRegistry(cleanup, { ranges: false });
      const names = ['limited', 'failing', 'cut', 'hanging', 'stalling', 'corrupt', 'reset'];
      for (const [index, name] of names.entries())
        await addImage(registry, `team/${name}`, (200 + 10 * index) * KIB);
      await addImage(plain, 'team/plain', 400 * KIB);

      const { faults } = registry;
      // Longer than the client waits by itself: the cluster waits.
      const limited = { kind: 'status', status: 429, headers: { 'retry-after': '7' } } as const;
      faults.add(/team\/limited\/manifests/, limited, 1);
      faults.add(BLOBS('limited'), { ...limited, headers: { 'retry-after': '1' } }, 2);
      faults.add(BLOBS('failing'), { kind: 'status', status: 500 }, 2);
      faults.add(BLOBS('cut'), { kind: 'cut', afterBytes: 30_000 }, 5);
      faults.add(BLOBS('hanging'), { kind: 'hang' }, 1);
      faults.add(BLOBS('stalling'), { kind: 'stall', afterBytes: 50_000 }, 1);
      faults.add(BLOBS('corrupt'), { kind: 'corrupt' }, 2);
      faults.add(BLOBS('reset'), { kind: 'reset' }, 2);
      plain.faults.add(BLOBS('plain'), { kind: 'cut', afterBytes: 100_000 }, 3);

      const images = [
        ...names.map((name) => `${registry.host}/team/${name}:1.0`),
        `${plain.host}/team/plain:1.0`,
      ];
      await cluster.list(...images);
      cluster.start();
      await Promise.all(images.map((image) => idWhenReady(cluster.agents, image, READY_MS)));
      for (const agent of cluster.agents) expect(await wrongBlobs(agent)).toEqual([]);
    },
    2 * READY_MS,
  );

  it(
    'may be down: what it has becomes ready by itself after it is back',
    async () => {
      const port = await freePort();
      const image = `127.0.0.1:${port}/team/late:1.0`;
      await cluster.list(image);
      await Promise.all(
        cluster.agents.map((agent) =>
          agent.wait('registry_unreachable', MINUTE_MS, async () =>
            (await agent.images()).find(({ reason }) => reason === 'registry_unreachable'),
          ),
        ),
      );
      const late = await startDemoRegistry(cleanup, { port });
      await addImage(late, 'team/late', 64 * KIB);
      await idWhenReady(cluster.agents, image, READY_MS);
    },
    2 * READY_MS,
  );
});
