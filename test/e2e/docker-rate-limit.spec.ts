import { setTimeout as delay } from 'node:timers/promises';

import { AgentCluster } from '../support/agent-cluster.js';
import type { AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { DockerRegistry } from '../support/docker-registry.js';
import { describeWith } from '../support/engines.js';
import { ImageBuilder } from '../support/image-builder.js';
import { pushImage } from '../support/push-image.js';

const MIB = 1024 * 1024;
const LIMIT = 20 * MIB;
const MEASURED_MS = 5000;
const READY_MS = 60_000;

describeWith('docker-registry', 'DOWNLOAD_RATE_LIMIT=20MiB', () => {
  const cleanup = new Cleanup();
  let registry: DockerRegistry;
  let cluster: AgentCluster;
  let reference: string;

  beforeAll(async () => {
    registry = await cleanup.track(DockerRegistry.start(), (started) => started.stop());
    const builder = await cleanup.track(ImageBuilder.create(), (started) => started.dispose());
    const layer = {
      seed: 'rate',
      sizeBytes: 180 * MIB,
      compressible: 0,
      compression: 'none',
    } as const;
    await pushImage(await builder.image({ layers: [layer] }), registry.url, 'team/large', ['1']);
    reference = `${registry.host}/team/large:1`;
    cluster = await cleanup.track(
      AgentCluster.prepare([{ DOWNLOAD_RATE_LIMIT: '20MiB' }, {}, {}], { RUNTIME: 'directory' }),
      (started) => started.dispose(),
    );
    // The two do not know each other: all that arrives has come from the one that is measured.
    const [source, ...peers] = cluster.agents;
    for (const peer of peers) peer.set('PEERS', source!.address);
    await cluster.list(reference);
    cluster.agents[0]!.start();
    await cluster.agents[0]!.until(reference, 'ready', READY_MS);
  }, 2 * READY_MS);

  afterAll(() => cleanup.run(), 60_000);

  it(
    'holds for the sum of two peers that download at once',
    async () => {
      const [source, ...peers] = cluster.agents;
      for (const peer of peers) peer.start();
      await Promise.all(
        peers.map((peer) =>
          peer.wait('receiving', READY_MS, async () => (await received(peer)) > 0 || undefined),
        ),
      );
      // A machine busy with something else may be slower than the limit for a while; faster it may never be.
      const rates: number[] = [];
      for (let window = 0; window < 3 && !rates.some((rate) => rate > 0.9); window++) {
        const { sent, arrived } = await measure(source!, peers);
        expect(sent).toBeLessThan(1.1);
        expect(arrived[0]! + arrived[1]!).toBeLessThan(1.1);
        // Neither starves the other.
        for (const share of arrived) expect(share).toBeGreaterThan(0.25 * sent);
        rates.push(Math.min(sent, arrived[0]! + arrived[1]!));
      }
      expect(Math.max(...rates)).toBeGreaterThan(0.9);
    },
    READY_MS,
  );

  /** Bytes over 5 s, in parts of the limit: by the one that sends, and by each that receives. */
  async function measure(
    source: AgentProcess,
    peers: readonly AgentProcess[],
  ): Promise<{ sent: number; arrived: number[] }> {
    const count = () =>
      Promise.all([source.metric('image_preheat_peer_sent_bytes_total'), ...peers.map(received)]);
    const startedMs = performance.now();
    const before = await count();
    await delay(MEASURED_MS);
    const after = await count();
    const allowed = (LIMIT * (performance.now() - startedMs)) / 1000;
    const [sent = 0, ...arrived] = after.map((bytes, index) => (bytes - before[index]!) / allowed);
    return { sent, arrived };
  }

  function received(peer: AgentProcess): Promise<number> {
    return peer.metric('image_preheat_peer_received_bytes_total');
  }
});
