import { setTimeout as delay } from 'node:timers/promises';

import { AgentCluster } from '../support/agent-cluster.js';
import { Cleanup } from '../support/cleanup.js';
import { DockerRegistry } from '../support/docker-registry.js';
import { describeWith } from '../support/engines.js';
import { type BuiltImage, ImageBuilder } from '../support/image-builder.js';
import { pushImage } from '../support/push-image.js';

const MIB = 1024 * 1024;
const NODES = 4;
const SHARED_LAYERS = 9;
const ROUND_MS = 60_000;

// Where the image goes in the end does not matter to who reads what: the runtime is a directory, which is quick.
describeWith('docker-registry', 'Two images that share nine of ten layers, preheated at once', () => {
  const cleanup = new Cleanup();
  let registry: DockerRegistry;
  let builder: ImageBuilder;
  let cluster: AgentCluster;

  beforeAll(async () => {
    registry = await cleanup.track(DockerRegistry.start(), (started) => started.stop());
    builder = await cleanup.track(ImageBuilder.create(), (started) => started.dispose());
    cluster = await cleanup.track(
      AgentCluster.prepare(
        Array.from({ length: NODES }, () => ({})),
        // Slow enough for the two images to overlap.
        { RUNTIME: 'directory', RECEIVE_RATE_LIMIT: '8MiB' },
      ),
      (started) => started.dispose(),
    );
  }, ROUND_MS);

  afterAll(() => cleanup.run(), 60_000);

  /** Pushes two images of a round, each with one layer of its own. */
  async function pushPair(round: string): Promise<{ references: string[]; images: BuiltImage[] }> {
    const layer = (seed: string) => ({
      seed,
      sizeBytes: MIB,
      compressible: 0,
      compression: 'none' as const,
    });
    const shared = Array.from({ length: SHARED_LAYERS }, (_, index) => layer(`shared-${round}-${index}`));
    const images: BuiltImage[] = [];
    const references: string[] = [];
    for (const name of ['a', 'b']) {
      const image = await builder.image({ layers: [...shared, layer(`${name}-${round}`)] });
      await pushImage(image, registry.url, `team/${name}`, [round]);
      images.push(image);
      references.push(`${registry.host}/team/${name}:${round}`);
    }
    return { references, images };
  }

  it.each(['1', '2'])(
    'has the registry send each blob once, with %s of them at a time on each node',
    async (concurrency) => {
      for (const agent of cluster.agents) await agent.end();
      // Agents that start at the same moment do not know each other yet.
      const start = (): void => {
        for (const agent of cluster.agents) agent.start({ PREHEAT_CONCURRENCY: concurrency });
      };
      await preheatPair(`${concurrency}x`, concurrency === '1', start);
      await preheatPair(`${concurrency}y`, concurrency === '1');
    },
    4 * ROUND_MS,
  );

  /** @param apart the two images must have holders of their own, which a node that does one at a time sees to; @param start agents that are not running */
  async function preheatPair(round: string, apart: boolean, start?: () => void): Promise<void> {
    const { references, images } = await pushPair(round);
    const [first = '', second = ''] = references;
    await registry.forget();
    await Promise.all(
      cluster.agents.map((agent, index) =>
        agent.list(`${first} priority=${index % 2}`, `${second} priority=${1 - (index % 2)}`),
      ),
    );
    start?.();
    // Whoever looks now and then does not see every holder; two that are seen must not be one.
    const holders = new Map<string, string>();
    const over = new AbortController();
    const watching = (async () => {
      while (!over.signal.aborted) {
        for (const [image, node] of await cluster.lockHolders()) holders.set(image, node);
        await delay(20);
      }
    })();
    await Promise.all(
      cluster.agents.flatMap((agent) =>
        references.map((reference) => agent.until(reference, 'ready', ROUND_MS)),
      ),
    ).finally(() => over.abort());
    await watching;
    const seen = references.flatMap((reference) => holders.get(reference) ?? []);
    if (apart) expect(new Set(seen).size).toBe(seen.length);
    const traffic = await registry.blobTraffic();
    const wanted = images.flatMap(({ images: [single] }) => [single!.config, ...single!.layers]);
    const sizes = new Map(wanted.map(({ digest, size }) => [digest, size]));
    const sent = new Map([...traffic].map(([digest, { bytes }]) => [digest, bytes]));
    expect(sent).toEqual(sizes);
  }
});
