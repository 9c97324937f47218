import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import type { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import { AgentCluster } from '../support/agent-cluster.js';
import type { AgentImage, AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { startDemoRegistry } from '../support/demo-images.js';
import { DockerEngine } from '../support/docker-engine.js';
import { canCreate } from '../support/engine-images.js';
import { describeWith } from '../support/engines.js';
import { survive } from '../support/fault-scene.js';
import { ImageBuilder } from '../support/image-builder.js';
import type { LayerSpec } from '../support/layer-builder.js';
import { DiskWatch, LoopDisk } from '../support/loop-disk.js';
import { LOOPBACK, type ProcessPlace } from '../support/process-place.js';
import { pushImage } from '../support/push-image.js';

const READY_MS = 120_000;
const CASE_MS = 2 * READY_MS;
const MIB = 1024 * 1024;
/** Where kubelet begins to delete images. */
const GARBAGE_COLLECTION_PERCENT = 85;
const IMAGES = 6;
const LAYER_BYTES = 16 * MIB;

interface Node {
  readonly agent: AgentProcess;
  readonly engine: DockerEngine;
  readonly store: LoopDisk;
  readonly runtime: LoopDisk;
  readonly watch: DiskWatch;
}

describeWith('dockerd', 'The disk guard, on real file systems', () => {
  const cleanup = new Cleanup();
  let registry: DemoRegistry;
  let builder: ImageBuilder;

  beforeAll(async () => {
    registry = await startDemoRegistry(cleanup);
    builder = await cleanup.track(ImageBuilder.create(), (made) => made.dispose());
  }, CASE_MS);
  afterAll(() => cleanup.run(), CASE_MS);

  async function push(name: string, ...layers: LayerSpec[]): Promise<string> {
    await pushImage(await builder.image({ layers, label: name }), registry.url, `team/${name}`, ['1']);
    return `${registry.host}/team/${name}:1`;
  }

  const pushMany = async (prefix: string): Promise<string[]> => {
    const references: string[] = [];
    for (let index = 0; index < IMAGES; index += 1)
      references.push(
        await push(`${prefix}-${index}`, { seed: `${prefix}-${index}`, sizeBytes: LAYER_BYTES }),
      );
    return references;
  };

  /**
   * A node whose store is on one disk and whose images are on another, with `MIN_FREE_DISK` as it is by default.
   * @param placeOf where its agent runs, which does not run yet
   */
  async function startNode(
    storeBytes: number,
    runtimeBytes: number,
    placeOf: (runtime: LoopDisk) => ProcessPlace = () => LOOPBACK,
  ): Promise<Node> {
    const store = await cleanup.track(LoopDisk.create(storeBytes), (disk) => disk.dispose());
    const runtime = await cleanup.track(LoopDisk.create(runtimeBytes), (disk) => disk.dispose());
    const dataRoot = join(runtime.directory, 'docker');
    const engine = await cleanup.track(DockerEngine.start({ dataRoot }), (started) => started.stop());
    const cluster = await cleanup.track(
      AgentCluster.prepare(
        [{ RUNTIME: 'docker', DOCKER_HOST: engine.host, INTERVAL: '1s' }],
        { STORE_DIR: join(store.directory, 'store'), STORE_MAX_SIZE: '0', MIN_FREE_DISK: '20%' },
        [placeOf(runtime)],
      ),
      (made) => made.dispose(),
    );
    const [agent] = cluster.agents as [AgentProcess];
    const watch = new DiskWatch([store, runtime]);
    await cleanup.track(Promise.resolve(watch), (started) => {
      started.stop();
      return Promise.resolve();
    });
    return { agent, engine, store, runtime, watch };
  }

  /** Leaves `bytes` above what has to stay free. */
  async function leaveRoom(disk: LoopDisk, bytes: number): Promise<void> {
    await disk.fill((await disk.totalBytes()) * 0.2 + bytes);
  }

  /** Waits until every image is ready or has failed, and none is on its way. @returns those that failed */
  async function settled({ agent }: Node): Promise<readonly AgentImage[]> {
    const isSettled = (images: readonly AgentImage[]): boolean =>
      images.length > 0 && images.every(({ state }) => state === 'ready' || state === 'failed');
    return agent.wait('settled', READY_MS, async () => {
      if (!isSettled(await agent.images())) return undefined;
      await delay(300);
      const images = await agent.images();
      return isSettled(images) ? images.filter(({ state }) => state === 'failed') : undefined;
    });
  }

  function expectBelowCollection({ watch, store, runtime }: Node): string {
    const [stored, loaded] = [watch.mostUsed(store), watch.mostUsed(runtime)];
    expect(stored).toBeLessThan(GARBAGE_COLLECTION_PERCENT);
    expect(loaded).toBeLessThan(GARBAGE_COLLECTION_PERCENT);
    return `at most ${stored} % of the store's disk used, ${loaded} % of the runtime's`;
  }

  it(
    'a list that is larger than the disk of the runtime: what fits is ready, the rest when there is room',
    async () => {
      await survive("disk guard: the list does not fit on the runtime's disk", async () => {
        const node = await startNode(80 * MIB, 320 * MIB);
        const { agent, engine, runtime, store, watch } = node;
        const references = await pushMany('runtime');
        // All of it would leave less than a tenth free.
        await leaveRoom(runtime, 58 * MIB);
        agent.start();
        await agent.list(...references);
        const failed = await settled(node);
        expect(failed.length).toBeGreaterThan(0);
        expect(failed.length).toBeLessThan(IMAGES);
        for (const { reason, message } of failed) {
          expect(reason).toBe('insufficient_disk');
          expect(message).toMatch(
            /needs about .* MiB unpacked, but MIN_FREE_DISK leaves .* of the .* MiB free/,
          );
        }
        await runtime.clear();
        for (const reference of references) {
          await agent.until(reference, 'ready', READY_MS);
          expect(await canCreate(engine, reference)).toBe(true);
        }
        // The store holds what it can with a quarter of its disk free; it was asked for more than that.
        expect(watch.mostUsed(store)).toBeGreaterThan(50);
        expect(watch.mostUsed(store)).toBeLessThanOrEqual(76);
        const used = expectBelowCollection(node);
        return `insufficient_disk for ${failed.length} of ${IMAGES}, with both numbers; ${used}; ready when there is room`;
      });
    },
    CASE_MS,
  );

  it(
    'an image that does not fit on the disk of the store',
    async () => {
      await survive("disk guard: no room on the store's disk", async () => {
        const node = await startNode(80 * MIB, 320 * MIB);
        const { agent, engine, store } = node;
        const reference = await push('store', { seed: 'store', sizeBytes: LAYER_BYTES });
        await leaveRoom(store, 4 * MIB);
        const requests = (): number => registry.ledger.count(/blobs/);
        const before = requests();
        agent.start();
        await agent.list(reference);
        const { reason, message } = await agent.until(reference, 'failed', READY_MS);
        expect(reason).toBe('insufficient_disk');
        expect(message).toMatch(
          /needs .* MiB more, but MIN_FREE_DISK leaves .* MiB of the .* MiB free on the disk of STORE_DIR/,
        );
        expect(requests()).toBe(before);
        await store.clear();
        await agent.until(reference, 'ready', READY_MS);
        expect(await canCreate(engine, reference)).toBe(true);
        return `insufficient_disk before a byte is fetched; ${expectBelowCollection(node)}; ready when there is room`;
      });
    },
    CASE_MS,
  );

  it(
    'an image that unpacks to two hundred times its size',
    async () => {
      await survive('disk guard: an image unpacks to far more than expected', async () => {
        const node = await startNode(80 * MIB, 4096 * MIB);
        const { agent, engine, runtime } = node;
        const reference = await push('dense', { seed: 'dense', sizeBytes: 320 * MIB, compressible: 1 });
        await leaveRoom(runtime, 32 * MIB);
        agent.start();
        await agent.list(reference);
        const { reason, message } = await agent.until(reference, 'failed', READY_MS);
        expect(reason).toBe('insufficient_disk');
        expect(message).toMatch(
          /has taken .* MiB for the image, more than was expected, and leaves .* MiB free/,
        );
        await runtime.clear();
        await agent.until(reference, 'ready', READY_MS);
        expect(await canCreate(engine, reference)).toBe(true);
        return `insufficient_disk, the pull is ended in time; ${expectBelowCollection(node)}; ready when there is room`;
      });
    },
    CASE_MS,
  );

  it(
    'an agent that does not see the disk of the runtime: says so once, and guards that of the store',
    async () => {
      await survive("disk guard: the runtime's directory is not mounted", async () => {
        const node = await startNode(80 * MIB, 320 * MIB, withoutMount);
        const { agent, store, runtime } = node;
        const reference = await push('unseen', { seed: 'unseen', sizeBytes: LAYER_BYTES });
        await leaveRoom(store, 4 * MIB);
        // It would be too little, if anybody could see it.
        await leaveRoom(runtime, 4 * MIB);
        agent.start();
        await agent.list(reference);
        const { reason, message } = await agent.until(reference, 'failed', READY_MS);
        expect(reason).toBe('insufficient_disk');
        expect(message).toContain('on the disk of STORE_DIR');
        await store.clear();
        await agent.until(reference, 'ready', READY_MS);
        const warnings = (await agent.log()).split('\n').filter((line) => line.includes('not mounted here'));
        expect(warnings).toHaveLength(1);
        return "one warning; insufficient_disk for the store's disk alone";
      });
    },
    CASE_MS,
  );
});

/** As in a container that the disk is not mounted in. */
function withoutMount({ directory }: LoopDisk): ProcessPlace {
  const script = 'umount --lazy "$0" && exec "$@"';
  return { ...LOOPBACK, launcher: ['unshare', '--mount', 'sh', '-c', script, directory] };
}
