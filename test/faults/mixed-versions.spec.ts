import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

import type { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import type { AgentProcess } from '../support/agent-process.js';
import { unpackAgentWithoutChunks } from '../support/agent-without-chunks.js';
import { Cleanup } from '../support/cleanup.js';
import { addImage, sentBytes, startDemoRegistry } from '../support/demo-images.js';
import { expectRightBlobs, idWhenReady, prepareDirectoryCluster } from '../support/directory-cluster.js';
import { survive } from '../support/fault-scene.js';

const MIB = 1024 * 1024;
const READY_MS = 120_000;
const CASE_MS = 2 * READY_MS;
/** Slow enough for something to happen while an image of 12 MiB, half of it compressible, is read. */
const SLOW_BYTES_PER_SECOND = 2 * MIB;
/** What a dying reader had is read once more at most; the old agent passes on whole blobs alone. */
const MAX_RATIO_AFTER_DEATH = 2;

type Version = 'old' | 'new';

describe('Agents of two versions', () => {
  const ofSuite = new Cleanup();
  let mains: Readonly<Record<Version, string>>;

  beforeAll(async () => {
    mains = { old: await unpackAgentWithoutChunks(ofSuite), new: join(process.cwd(), 'dist/main.js') };
  }, CASE_MS);
  afterAll(() => ofSuite.run(), CASE_MS);

  /** Both directions at once: most of the time is spent waiting. */
  async function bothWays(
    fault: string,
    run: (cleanup: Cleanup, first: Version, second: Version) => Promise<string>,
  ): Promise<void> {
    const directions: readonly (readonly [Version, Version])[] = [
      ['old', 'new'],
      ['new', 'old'],
    ];
    const cleanup = new Cleanup();
    try {
      const rows = directions.map(([first, second]) =>
        survive(`versions: ${fault} (${first}, ${second})`, () => run(cleanup, first, second)),
      );
      const failed = (await Promise.allSettled(rows)).filter((result) => result.status === 'rejected');
      if (failed.length > 0)
        throw new AggregateError(
          failed.map(({ reason }) => reason as Error),
          fault,
        );
    } finally {
      await cleanup.run();
    }
  }

  async function prepare<T extends readonly Version[]>(
    cleanup: Cleanup,
    ...versions: T
  ): Promise<{ [K in keyof T]: AgentProcess }> {
    const { agents } = await prepareDirectoryCluster(cleanup, versions.length, {
      K8S_LOCK_TIMEOUT: '12s',
      PULLING_TIMEOUT: '20s',
    });
    for (const [index, version] of versions.entries()) agents[index]?.use(mains[version]);
    return agents as unknown as { [K in keyof T]: AgentProcess };
  }

  async function registryWith(
    cleanup: Cleanup,
    layerBytes: Readonly<Record<string, number>>,
    bandwidthBytesPerSecond = 0,
  ): Promise<{ registry: DemoRegistry; uniqueBytes: number }> {
    const registry = await startDemoRegistry(cleanup, { bandwidthBytesPerSecond });
    let uniqueBytes = 0;
    for (const [name, bytes] of Object.entries(layerBytes))
      uniqueBytes += await addImage(registry, `team/${name}`, bytes);
    return { registry, uniqueBytes };
  }

  function imagesOf({ host }: DemoRegistry, ...names: readonly string[]): string[] {
    return names.map((name) => `${host}/team/${name}:1.0`);
  }

  /** So that all images are missed, and what the store has of them is needed. */
  function emptyRuntime({ storeDirectory }: AgentProcess): Promise<void> {
    return rm(join(storeDirectory, 'runtime', 'index.json'));
  }

  async function expectReady(agents: readonly AgentProcess[], image: string): Promise<void> {
    await idWhenReady(agents, image, READY_MS);
    await expectRightBlobs(agents);
  }

  /** Waits until the registry has sent that part of `uniqueBytes`. */
  async function untilRead(agent: AgentProcess, registry: DemoRegistry, bytes: number): Promise<void> {
    await agent.wait(`${bytes} bytes read`, READY_MS, () =>
      Promise.resolve(sentBytes(registry) >= bytes || undefined),
    );
  }

  it(
    'is what it is called: the old one knows nothing of chunks whose hashes somebody has',
    async () => {
      const [older, newer] = await prepare(ofSuite, 'old', 'new');
      const questionOf = async (agent: AgentProcess): Promise<string> => {
        agent.start();
        const answer = await agent.wait('started', READY_MS, () => agent.get('/docs-json'));
        return JSON.stringify(((await answer.json()) as { components: object }).components);
      };
      expect(await questionOf(newer)).toContain('whose hashes the caller knows');
      expect(await questionOf(older)).not.toContain('whose hashes the caller knows');
    },
    CASE_MS,
  );

  it(
    'has one image, and reads another: the other one gets both from there',
    async () => {
      await bothWays('one has an image, and reads another', async (cleanup, giving, taking) => {
        const { registry, uniqueBytes } = await registryWith(
          cleanup,
          { ready: MIB, app: 4 * MIB },
          SLOW_BYTES_PER_SECOND,
        );
        const [ready = '', app = ''] = imagesOf(registry, 'ready', 'app');
        const [giver, taker] = await prepare(cleanup, giving, taking);
        await giver.list(ready);
        await taker.list(ready, app);
        giver.start();
        await giver.until(ready, 'ready', READY_MS);
        const before = sentBytes(registry);
        await giver.list(ready, app);
        await untilRead(giver, registry, before + MIB);
        taker.start();
        for (const image of [ready, app]) await expectReady([giver, taker], image);
        expect(sentBytes(registry)).toBe(uniqueBytes);
        return 'from the peer; the registry sends each byte once';
      });
    },
    CASE_MS,
  );

  it(
    'dies while it reads the registry: the other one takes its lock over, and serves it when it is back',
    async () => {
      await bothWays('one dies midway, the other takes over', async (cleanup, dying, surviving) => {
        const { registry, uniqueBytes } = await registryWith(
          cleanup,
          { app: 4 * MIB },
          SLOW_BYTES_PER_SECOND,
        );
        const [image = ''] = imagesOf(registry, 'app');
        const [holder, heir] = await prepare(cleanup, dying, surviving);
        heir.set('RECEIVE_RATE_LIMIT', String(MIB));
        heir.start();
        await heir.wait('started', READY_MS, () => heir.get('/health'));
        await holder.list(image);
        holder.start();
        await untilRead(holder, registry, MIB);
        await heir.list(image);
        await heir.until(image, 'fetching', READY_MS);
        await holder.end('SIGKILL');
        await expectReady([heir], image);
        holder.start();
        await expectReady([holder, heir], image);
        const ratio = sentBytes(registry) / uniqueBytes;
        expect(ratio).toBeLessThanOrEqual(MAX_RATIO_AFTER_DEATH);
        return `ready on both; registry ÷ unique = ${ratio.toFixed(2)}`;
      });
    },
    CASE_MS,
  );

  it(
    'opens the store that the other one has written, and then the other one again',
    async () => {
      await bothWays('store written by one, opened by the other', async (cleanup, writing, reading) => {
        const { registry } = await registryWith(cleanup, { whole: 3 * MIB, partial: 5 * MIB, more: MIB });
        const [whole = '', partial = '', more = ''] = imagesOf(registry, 'whole', 'partial', 'more');
        const [agent] = await prepare(cleanup, writing);
        agent.set('RECEIVE_RATE_LIMIT', String(4 * MIB));
        await agent.list(whole);
        agent.start();
        await expectReady([agent], whole);
        await agent.list(whole, partial);
        await untilRead(agent, registry, sentBytes(registry) + 2 * MIB);
        await agent.end('SIGKILL');
        expect(await readdir(join(agent.storeDirectory, 'partial'))).not.toEqual([]);

        await emptyRuntime(agent);
        agent.use(mains[reading]);
        await agent.list(whole);
        const before = sentBytes(registry);
        agent.start();
        await expectReady([agent], whole);
        expect(sentBytes(registry)).toBe(before);
        await agent.list(whole, partial);
        await expectReady([agent], partial);
        await agent.end('SIGTERM');

        await emptyRuntime(agent);
        agent.use(mains[writing]);
        const afterBoth = sentBytes(registry);
        agent.start();
        for (const image of [whole, partial]) await expectReady([agent], image);
        expect(sentBytes(registry)).toBe(afterBoth);
        await agent.list(whole, partial, more);
        await expectReady([agent], more);
        return 'what is whole is used, nothing of it is fetched again';
      });
    },
    CASE_MS,
  );

  it(
    'are rolled out one by one in the midst of a transfer, and back again',
    async () => {
      await survive('versions: rolled out, and back, midway', async () => {
        const { registry } = await registryWith(ofSuite, { app: 8 * MIB }, SLOW_BYTES_PER_SECOND);
        const [image = ''] = imagesOf(registry, 'app');
        const agents = await prepare(ofSuite, 'old', 'old', 'old');
        await Promise.all(agents.map((agent) => agent.list(image)));
        for (const agent of agents) agent.start();
        for (const version of ['new', 'old'] as const) {
          for (const agent of agents) {
            const before = sentBytes(registry);
            await agents[0].wait('more is read', READY_MS, async () => {
              const all = await Promise.all(agents.map((each) => each.images().catch(() => [])));
              const isOver = all.flat().filter(({ state }) => state === 'ready').length === agents.length;
              return sentBytes(registry) > before || isOver || undefined;
            });
            await agent.end('SIGTERM');
            agent.use(mains[version]);
            agent.start();
          }
        }
        await expectReady(agents, image);
        return 'ready on all nodes';
      });
    },
    CASE_MS,
  );
});
