import { AgentCluster } from '../test/support/agent-cluster.js';
import type { Cleanup } from '../test/support/cleanup.js';
import { DockerRegistry } from '../test/support/docker-registry.js';
import { ImageBuilder } from '../test/support/image-builder.js';
import { pushImage } from '../test/support/push-image.js';
import { type Figure, median } from './figure.js';
import { requestPreheat } from './preheat-request.js';
import { MIB } from './scale.js';
import { timed } from './timed.js';

const LAYERS = 8;
const LAYER_BYTES = 40 * MIB;
const READY_MS = 300_000;
/** Longer than the agent keeps what the runtime told it, so that it sees that the image is gone. */
export const SETTLE_MS = 1_500;

/** A container runtime, and the pull of its own that the agent is held against. */
export interface PairedRuntime {
  /** Of the agent, so that it loads into this runtime. */
  readonly environment: Readonly<Record<string, string>>;
  /** Leaves nothing of any image; resolves when the agent, too, sees that it is gone. */
  readonly removeImages: () => Promise<void>;
  readonly pull: (reference: string) => Promise<unknown>;
}

/** One runtime, one image, in turns: the agent with all blobs in its store, and the runtime's own pull from a registry beside it. */
export async function readyAgainstPull(
  { environment, removeImages, pull }: PairedRuntime,
  pairs: number,
  cleanup: Cleanup,
): Promise<Pick<Figure, 'value' | 'detail'>> {
  const builder = await cleanup.track(ImageBuilder.create(), (it) => it.dispose());
  const registry = await cleanup.track(DockerRegistry.start(), (it) => it.stop());
  const layers = Array.from({ length: LAYERS }, (_, index) => ({
    seed: `ready-${index}`,
    sizeBytes: LAYER_BYTES,
  }));
  await pushImage(await builder.image({ layers }), registry.url, 'bench/app', ['1']);
  const reference = `${registry.host}/bench/app:1`;
  const cluster = await cleanup.track(AgentCluster.prepare([{ ...environment, INTERVAL: '1h' }]), (it) =>
    it.dispose(),
  );
  const [agent] = cluster.agents;
  if (!agent) throw new Error('no agent was prepared');
  await agent.list(reference);
  agent.start();
  await agent.until(reference, 'ready', READY_MS);

  const preheats: number[] = [];
  const pulls: number[] = [];
  for (let pair = 0; pair < pairs; pair += 1) {
    await removeImages();
    preheats.push((await requestPreheat(agent, reference, cluster.authorization)).readyMs);
    await removeImages();
    pulls.push(await timed(() => pull(reference)));
  }
  const [ours, theirs] = [median(preheats), median(pulls)];
  return {
    value: ours / theirs,
    detail: `medians of ${pairs} pairs, ${(ours / 1000).toFixed(2)} s ÷ ${(theirs / 1000).toFixed(2)} s; ${(LAYERS * LAYER_BYTES) / MIB} MiB in ${LAYERS} layers`,
  };
}
