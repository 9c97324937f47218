import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';

import { generatedContent } from '../support/generated-content.js';
import { AgentCluster } from '../support/agent-cluster.js';
import type { AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { DockerEngine } from '../support/docker-engine.js';
import { DockerRegistry } from '../support/docker-registry.js';
import { canCreate, namesIn } from '../support/engine-images.js';
import { describeWith } from '../support/engines.js';
import { type BuiltImage, ImageBuilder } from '../support/image-builder.js';
import { pushImage } from '../support/push-image.js';

const MIB = 1024 * 1024;
const KILLS = 20;
/** Of these, the last ones, while the runtime takes the image in. */
const KILLS_WHILE_LOADING = 5;
const READY_MS = 120_000;

describeWith(['dockerd', 'docker-registry'], 'An agent that ends in the middle of a pull', () => {
  const cleanup = new Cleanup();
  let registry: DockerRegistry;
  let builder: ImageBuilder;
  let engine: DockerEngine;
  let cluster: AgentCluster;
  let agent: AgentProcess;
  const images = new Map<string, BuiltImage>();

  beforeAll(async () => {
    registry = await cleanup.track(DockerRegistry.start(), (started) => started.stop());
    builder = await cleanup.track(ImageBuilder.create(), (started) => started.dispose());
    engine = await cleanup.track(DockerEngine.start(), (started) => started.stop());
    cluster = await cleanup.track(
      AgentCluster.prepare([{ RUNTIME: 'docker', DOCKER_HOST: engine.host }], { RECEIVE_RATE_LIMIT: '8MiB' }),
      (started) => started.dispose(),
    );
    agent = cluster.agents[0]!;
  }, READY_MS);

  afterAll(() => cleanup.run(), 60_000);

  /** Lists one image more, of layers nobody has seen. */
  async function listNext(): Promise<string> {
    const name = `app-${images.size}`;
    const image = await builder.image({
      layers: [16, 8, 4].map((size) => ({
        seed: `${name}-${size}`,
        sizeBytes: size * MIB,
        compressible: 0.1,
      })),
    });
    await pushImage(image, registry.url, `team/${name}`, ['1']);
    images.set(`${registry.host}/team/${name}:1`, image);
    await agent.list(...images.keys());
    return `${registry.host}/team/${name}:1`;
  }

  it(
    'goes on from what it had after each of 20 kills, and leaves neither a broken blob nor half an image',
    async () => {
      const random = randomNumbers('kill -9');
      let reference = await listNext();
      let before = new Map<string, number>();
      for (let kill = 0; kill < KILLS;) {
        agent.start();
        const loading = kill >= KILLS - KILLS_WHILE_LOADING;
        const state = await agent.wait('at work', READY_MS, async () => {
          const status = (await agent.images()).find(({ image }) => image === reference);
          const wanted = loading ? ['loading', 'ready'] : ['fetching', 'loading', 'ready'];
          return status && wanted.includes(status.state) ? status.state : undefined;
        });
        if (state !== 'ready') await delay((loading ? 300 : 2500) * random());
        await agent.end('SIGKILL');
        const names = await namesIn(engine);
        if (names.includes(reference)) {
          expect(await canCreate(engine, reference)).toBe(true);
          reference = await listNext();
        }
        if (state !== 'ready') kill += 1;
        const after = await keptChunks();
        for (const [blob, chunks] of before) expect(after.get(blob) ?? 0).toBeGreaterThanOrEqual(chunks);
        before = after;
      }
      const resumed = (await registry.requests()).filter(({ status }) => status === 206);
      expect(resumed.length).toBeGreaterThan(0);

      agent.start();
      for (const name of images.keys()) await agent.until(name, 'ready', READY_MS);
      await agent.wait('without other names', 20_000, async () => {
        const names = await namesIn(engine);
        return names.join() === [...images.keys()].sort().join() || undefined;
      });
      for (const [name, { images: singles }] of images) {
        expect((await engine.client.getImage(name).inspect()).Id).toBe(singles[0]!.config.digest);
        expect(await canCreate(engine, name)).toBe(true);
      }
      await agent.end();
      await expectSoundStore();
    },
    4 * READY_MS,
  );

  it.each(['fetching', 'loading'])(
    'gives its lock back and ends within 10 s of SIGTERM while it is %s, and goes on after that',
    async (state) => {
      const reference = await listNext();
      agent.start();
      await agent.wait(`at work, ${state}`, READY_MS, async () => {
        const status = (await agent.images()).find(({ image }) => image === reference);
        return status?.state === state && status.bytesDone > 0 ? status : undefined;
      });
      if (state === 'fetching')
        expect(await cluster.lockHolders()).toEqual(new Map([[reference, agent.node]]));
      const tookMs = await agent.end();
      expect(tookMs).toBeLessThan(10_000);
      expect(agent.exitCode).toBe(0);
      expect(await cluster.lockHolders()).toEqual(new Map());

      const kept = [...(await keptChunks()).values()].reduce((sum, chunks) => sum + chunks, 0);
      expect(kept).toBeGreaterThan(0);
      agent.start();
      await agent.until(reference, 'ready', READY_MS);
      expect(await canCreate(engine, reference)).toBe(true);
      await agent.end();
      await expectSoundStore();
    },
    2 * READY_MS,
  );

  /** Blob to the number of chunks that the store may go on from: of a partial one those that its record names. */
  async function keptChunks(): Promise<Map<string, number>> {
    const kept = new Map<string, number>();
    const partials = join(agent.storeDirectory, 'partial');
    for (const name of await readdir(partials)) {
      if (!name.endsWith('.json')) continue;
      const text = await readFile(join(partials, name), 'utf8');
      const { chunks } = JSON.parse(text) as { chunks: (string | null)[] };
      kept.set(name.slice(0, -'.json'.length), chunks.filter((hash) => hash !== null).length);
    }
    for (const name of await readdir(join(agent.storeDirectory, 'blobs', 'sha256'))) kept.set(name, Infinity);
    return kept;
  }

  /** Every blob is what its name says, and nothing else is left of what was under way. */
  async function expectSoundStore(): Promise<void> {
    const blobs = join(agent.storeDirectory, 'blobs', 'sha256');
    for (const name of await readdir(blobs)) {
      const hash = createHash('sha256');
      await pipeline(createReadStream(join(blobs, name)), hash);
      expect(hash.digest('hex')).toBe(name);
    }
    expect(await readdir(join(agent.storeDirectory, 'partial'))).toEqual([]);
    const wanted = ['blobs', 'catalog.json', 'chunks', 'index.json', 'oci-layout', 'partial', 'records.json'];
    expect((await readdir(agent.storeDirectory)).sort()).toEqual(wanted);
    const chunks = await readdir(join(agent.storeDirectory, 'chunks'));
    expect(chunks.filter((name) => !/^[0-9a-f]{64}\.json$/.test(name))).toEqual([]);
  }
});

/** 0 … 1, the same numbers for the same seed. */
function randomNumbers(seed: string): () => number {
  const bytes = Buffer.concat([...generatedContent(seed, 4096, 0)]);
  let at = 0;
  return () => bytes.readUInt16LE((at += 2) % bytes.length) / 0xffff;
}
