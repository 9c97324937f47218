import { AgentCluster } from '../test/support/agent-cluster.js';
import type { Cleanup } from '../test/support/cleanup.js';
import { DockerRegistry } from '../test/support/docker-registry.js';
import { type BuiltImage, ImageBuilder } from '../test/support/image-builder.js';
import type { LayerSpec } from '../test/support/layer-builder.js';
import { pushImage } from '../test/support/push-image.js';
import type { BenchPart } from './bench-part.js';
import type { Figure } from './figure.js';
import { MIB, type Scale } from './scale.js';

const NODES = 3;
const LAYER_BYTES = 16 * MIB;
const READY_MS = 300_000;

/** Three nodes, two versions of an image that share nine layers of ten: what leaves the registry, and what is sent at all. */
export const bytesMoved: BenchPart = {
  name: 'bytes-moved',
  programs: ['docker-registry'],
  async run(_scale: Scale, cleanup: Cleanup): Promise<readonly Figure[]> {
    const builder = await cleanup.track(ImageBuilder.create(), (it) => it.dispose());
    const registry = await cleanup.track(DockerRegistry.start(), (it) => it.stop());
    const shared = Array.from({ length: 9 }, (_, index) => layer(`shared-${index}`));
    const first = await builder.image({ layers: [...shared, layer('only-1')] });
    const next = await builder.image({ layers: [...shared, layer('only-2')] });
    await pushImage(first, registry.url, 'bench/app', ['1']);
    await pushImage(next, registry.url, 'bench/app', ['2']);
    const cluster = await cleanup.track(
      AgentCluster.prepare(
        Array.from({ length: NODES }, () => ({ RUNTIME: 'directory', STORE_MAX_SIZE: '16GiB' })),
      ),
      (it) => it.dispose(),
    );

    await registry.forget();
    await preheat(cluster, `${registry.host}/bench/app:1`);
    const fromRegistry = await blobBytesSent(registry);
    const unique = bytesOf(first) - first.root.size;

    await registry.forget();
    const receivedBefore = await receivedBytes(cluster);
    await preheat(cluster, `${registry.host}/bench/app:1`, `${registry.host}/bench/app:2`);
    const bodies = (await registry.requests()).filter(
      ({ method, status }) => method === 'GET' && status < 300,
    );
    const readAgain = bodies.reduce((sum, { bytes }) => sum + bytes, 0);
    const moved = readAgain + (await receivedBytes(cluster)) - receivedBefore;
    const fresh = NODES * (bytesOf(next) - bytesOf(first, next));
    return [
      {
        what: `blob bytes leaving the registry ÷ unique blob bytes, ${NODES} nodes`,
        value: fromRegistry / unique,
        target: 1,
        gate: 1,
        detail: `${fromRegistry} ÷ ${unique} bytes`,
      },
      {
        what: `next version sharing 90 %: bytes moved ÷ new bytes, ${NODES} nodes`,
        value: moved / fresh,
        target: 1.01,
        gate: 1.05,
        detail: `registry and peers together, ${moved} ÷ ${fresh} bytes`,
      },
    ];
  },
};

function layer(seed: string): LayerSpec {
  return { seed, sizeBytes: LAYER_BYTES, compressible: 0 };
}

async function preheat(cluster: AgentCluster, ...references: string[]): Promise<void> {
  await cluster.list(...references);
  for (const agent of cluster.agents) if (!agent.isRunning) agent.start();
  for (const reference of references)
    await Promise.all(cluster.agents.map((agent) => agent.until(reference, 'ready', READY_MS)));
}

/** Of all of `image`'s blobs and manifests; with `other`, of those that both have. */
function bytesOf(image: BuiltImage, other: BuiltImage = image): number {
  const digests = new Set(other.blobs.map(({ digest }) => digest));
  return image.blobs.reduce((sum, { digest, size }) => sum + (digests.has(digest) ? size : 0), 0);
}

async function blobBytesSent(registry: DockerRegistry): Promise<number> {
  return [...(await registry.blobTraffic()).values()].reduce((sum, { bytes }) => sum + bytes, 0);
}

async function receivedBytes({ agents }: AgentCluster): Promise<number> {
  const counts = await Promise.all(
    agents.map((agent) => agent.metric('image_preheat_peer_received_bytes_total')),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}
