import { setTimeout as delay } from 'node:timers/promises';

import { AgentCluster } from '../test/support/agent-cluster.js';
import type { Cleanup } from '../test/support/cleanup.js';
import { ContainerdEngine } from '../test/support/containerd-engine.js';
import { DockerRegistry } from '../test/support/docker-registry.js';
import { ImageBuilder } from '../test/support/image-builder.js';
import { pushImage } from '../test/support/push-image.js';
import type { BenchPart } from './bench-part.js';
import { type Figure, median } from './figure.js';
import { requestPreheat } from './preheat-request.js';
import { MIB, type Scale } from './scale.js';
import { timed } from './timed.js';

const LAYERS = 8;
const LAYER_BYTES = 40 * MIB;
const READY_MS = 300_000;
/** Longer than the agent keeps what the runtime told it, so that it sees that the image is gone. */
const SETTLE_MS = 1_500;

/** One containerd, one image, in turns: the agent with all blobs in its store, and CRI's `PullImage` from a registry beside it. */
export const timeToReadyContainerd: BenchPart = {
  name: 'time-to-ready-containerd',
  programs: ['containerd', 'docker-registry'],
  async run({ pairs }: Scale, cleanup: Cleanup): Promise<readonly Figure[]> {
    const builder = await cleanup.track(ImageBuilder.create(), (it) => it.dispose());
    const registry = await cleanup.track(DockerRegistry.start(), (it) => it.stop());
    const engine = await cleanup.track(ContainerdEngine.start(), (it) => it.stop());
    const layers = Array.from({ length: LAYERS }, (_, index) => ({
      seed: `ready-${index}`,
      sizeBytes: LAYER_BYTES,
    }));
    await pushImage(await builder.image({ layers }), registry.url, 'bench/app', ['1']);
    const reference = `${registry.host}/bench/app:1`;
    const cluster = await cleanup.track(
      AgentCluster.prepare([
        { RUNTIME: 'containerd', CONTAINERD_ADDRESS: engine.socketPath, INTERVAL: '1h' },
      ]),
      (it) => it.dispose(),
    );
    const [agent] = cluster.agents;
    if (!agent) throw new Error('no agent was prepared');
    await agent.list(reference);
    agent.start();
    await agent.until(reference, 'ready', READY_MS);

    const preheats: number[] = [];
    const pulls: number[] = [];
    for (let pair = 0; pair < pairs; pair += 1) {
      await removeImages(engine);
      preheats.push((await requestPreheat(agent, reference, cluster.authorization)).readyMs);
      await removeImages(engine);
      pulls.push(await timed(() => engine.cri.pull(reference)));
    }
    const [ours, theirs] = [median(preheats), median(pulls)];
    return [
      {
        what: 'time to ready from a warm store ÷ CRI PullImage from a local registry',
        value: ours / theirs,
        target: 1.1,
        gate: 1.1,
        detail: `medians of ${pairs} pairs, ${(ours / 1000).toFixed(2)} s ÷ ${(theirs / 1000).toFixed(2)} s; ${(LAYERS * LAYER_BYTES) / MIB} MiB in ${LAYERS} layers`,
      },
    ];
  },
};

/** All names, blobs and snapshots: what a pull starts from on a node that has never seen the image. */
async function removeImages(engine: ContainerdEngine): Promise<void> {
  for (const { name } of await engine.images()) await engine.ctr(['images', 'rm', '--sync', name]);
  while ((await engine.cri.images()).length > 0) await delay(100);
  await delay(SETTLE_MS);
  const left = await engine.ctr(['content', 'ls', '--quiet']);
  if (left.trim() !== '') throw new Error(`containerd still has blobs:\n${left}`);
}
