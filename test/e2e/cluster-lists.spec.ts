import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import type { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import type { AgentCluster } from '../support/agent-cluster.js';
import type { AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { addImage, sentBytes, startDemoRegistry } from '../support/demo-images.js';
import { idWhenReady, IS_FULL_PROFILE, prepareDirectoryCluster } from '../support/directory-cluster.js';

const KIB = 1024;
const READY_MS = 120_000;

describe('A list that is mounted from a ConfigMap', () => {
  const cleanup = new Cleanup();
  let registry: DemoRegistry;
  let agent: AgentProcess;
  let mount: string;
  let first: string;
  let second: string;

  beforeAll(async () => {
    registry = await startDemoRegistry(cleanup);
    await addImage(registry, 'team/first', 64 * KIB);
    await addImage(registry, 'team/second', 128 * KIB);
    [first, second] = [`${registry.host}/team/first:1.0`, `${registry.host}/team/second:1.0`];
    // A long INTERVAL: what happens within seconds happens because the file has changed.
    const cluster = await prepareDirectoryCluster(cleanup, 1, { INTERVAL: '10m' });
    [agent] = cluster.agents as [AgentProcess];
    mount = join(agent.directory, 'mount');
    await mkdir(mount);
    await symlink('..data/images.list', join(mount, 'images.list'));
    await swap('1', `${first}\n`);
    agent.set('IMAGE_LIST_PATH', join(mount, 'images.list'));
    agent.start();
    await agent.until(first, 'ready', READY_MS);
  }, READY_MS);

  afterAll(() => cleanup.run(), 30_000);

  /** As the kubelet writes a volume: a new directory, then one rename of the `..data` link. */
  async function swap(version: string, content: string | Buffer): Promise<void> {
    await mkdir(join(mount, `..${version}`));
    await writeFile(join(mount, `..${version}`, 'images.list'), content);
    await symlink(`..${version}`, join(mount, '..data_tmp'));
    await rename(join(mount, '..data_tmp'), join(mount, '..data'));
  }

  async function exists(image: string): Promise<boolean> {
    return (await agent.get(`/images/check?image=${encodeURIComponent(image)}`)).status === 200;
  }

  it('is followed within 5 s of the swap', async () => {
    const swappedMs = performance.now();
    await swap('2', `${first}\n${second}\n`);
    await agent.wait('fetching the new image', 10_000, () =>
      Promise.resolve(registry.ledger.count(/team\/second/) > 0 || undefined),
    );
    const tookMs = performance.now() - swappedMs;
    process.stdout.write(`a swap of ..data: the new image was asked for after ${Math.round(tookMs)} ms\n`);
    expect(tookMs).toBeLessThanOrEqual(5000);
    await agent.until(second, 'ready', READY_MS);
  }, 60_000);

  it('may be corrupt: lines that do not parse are reported, those that do count', async () => {
    await swap(
      '3',
      Buffer.concat([Buffer.from(`${first}\n`), Buffer.from([0, 0xff, 0xfe, 0x0a]), Buffer.from('a b\n')]),
    );
    const invalid = await agent.wait('reporting the bad lines', 10_000, async () => {
      const { invalidLines } = (await (await agent.get('/images')).json()) as {
        invalidLines: { line: number }[];
      };
      return invalidLines.length > 0 ? invalidLines : undefined;
    });
    expect(invalid.map(({ line }) => line)).toEqual([2, 3]);
    expect(await agent.metric('image_list_invalid_lines')).toBe(2);
    expect(await agent.metric('image_list_images')).toBe(1);
    expect(await exists(first)).toBe(true);
  }, 30_000);

  it('may be empty: nothing is deleted', async () => {
    await swap('4', '');
    await agent.wait('an empty list', 10_000, async () =>
      (await agent.metric('image_list_images')) === 0 ? true : undefined,
    );
    expect(await agent.images()).toEqual([]);
    await swap('5', `${first}\n${second}\n`);
    const statuses = await Promise.all([first, second].map((image) => agent.until(image, 'ready', 10_000)));
    // Nobody had to bring anything again.
    expect(statuses.map(({ bytesTotal }) => bytesTotal)).toEqual([0, 0]);
  }, 30_000);

  it('may vanish: the last one stays in force, and the log says so', async () => {
    await rm(join(mount, '..data'));
    await agent.wait('saying that the list is gone', 10_000, async () =>
      (await agent.log()).includes('image list cannot be read') ? true : undefined,
    );
    expect((await agent.get('/health')).status).toBe(200);
    expect(await exists(first)).toBe(true);
    expect(await exists(second)).toBe(true);
    expect((await agent.images()).map(({ state }) => state)).toEqual(['ready', 'ready']);
    expect(await agent.metric('image_list_images')).toBe(2);
    expect(agent.isRunning).toBe(true);
  }, 30_000);
});

describe('Lists that change on one node after the other', () => {
  const AGENTS = IS_FULL_PROFILE ? 20 : 8;
  const SPREAD_MS = IS_FULL_PROFILE ? 90_000 : 15_000;
  const IMAGES = 4;
  const cleanup = new Cleanup();
  let registry: DemoRegistry;
  let cluster: AgentCluster;
  let images: string[];
  let uniqueBytes = 0;

  beforeAll(async () => {
    // Slow enough for pulls to be under way while lists change.
    registry = await startDemoRegistry(cleanup, { bandwidthBytesPerSecond: 1500 * KIB });
    for (let index = 0; index < IMAGES; index += 1)
      uniqueBytes += await addImage(registry, `team/app-${index}`, (index + 1) * 700 * KIB);
    images = Array.from({ length: IMAGES }, (_, index) => `${registry.host}/team/app-${index}:1.0`);
    cluster = await prepareDirectoryCluster(cleanup, AGENTS, { PREHEAT_CONCURRENCY: '2' });
    await cluster.list(images[0]!);
    cluster.start();
    await idWhenReady(cluster.agents, images[0]!, READY_MS);
  }, READY_MS * 2);

  afterAll(() => cleanup.run(), 60_000);

  it(
    'to two different lists: the registry sends everything once, and no lease is lost',
    async () => {
      // Both agree on nothing but one new image; every image is on some node's list.
      const lists = [images.slice(0, 3), [images[3]!, images[2]!]] as const;
      for (const [index, agent] of cluster.agents.entries()) {
        await agent.list(...lists[index % 2]!);
        await delay(SPREAD_MS / AGENTS);
      }
      await Promise.all(
        cluster.agents.flatMap((agent, index) =>
          lists[index % 2]!.map((image) => agent.until(image, 'ready', READY_MS * 2)),
        ),
      );
      const sent = sentBytes(registry);
      const logs = await Promise.all(cluster.agents.map((agent) => agent.log()));
      process.stdout.write(
        `${AGENTS} agents, two lists over ${SPREAD_MS / 1000} s: registry ÷ unique = ${(sent / uniqueBytes).toFixed(3)}\n`,
      );
      expect(sent).toBe(uniqueBytes);
      expect(logs.filter((log) => log.includes('lease lost'))).toEqual([]);
      const read = await Promise.all(
        cluster.agents.map((agent) => agent.metric('image_preheat_registry_bytes_total')),
      );
      // Manifests are not blobs in the registry's ledger, but bytes to the agents.
      expect(read.reduce((sum, bytes) => sum + bytes, 0)).toBeGreaterThanOrEqual(uniqueBytes);
    },
    READY_MS * 3 + SPREAD_MS,
  );
});
