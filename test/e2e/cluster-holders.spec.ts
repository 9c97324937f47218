import type { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import type { AgentCluster } from '../support/agent-cluster.js';
import type { AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { addImage, sentBytes, startDemoRegistry } from '../support/demo-images.js';
import { idWhenReady, prepareDirectoryCluster, wrongBlobs } from '../support/directory-cluster.js';

const KIB = 1024;
const AGENTS = 4;
/** Many small layers: what a dying holder had under way is lost, and must be little. */
const LAYERS = 60;
const LAYER_BYTES = 600 * KIB;
const BANDWIDTH_BYTES_PER_SECOND = 2500 * KIB;
/** Blobs travel whole: what the dead holder's four streams and their sockets had under way is read again. */
const MAX_RATIO = 1.15;
const LOCK_TIMEOUT_MS = 12_000;
const READY_MS = 180_000;

describe('The node that reads the registry for all', () => {
  let cleanup: Cleanup;
  let registry: DemoRegistry;
  let cluster: AgentCluster;
  let image: string;
  let uniqueBytes: number;

  beforeEach(async () => {
    cleanup = new Cleanup();
    registry = await startDemoRegistry(cleanup, { bandwidthBytesPerSecond: BANDWIDTH_BYTES_PER_SECOND });
    uniqueBytes = await addImage(registry, 'team/app', LAYER_BYTES, LAYERS);
    image = `${registry.host}/team/app:1.0`;
    cluster = await prepareDirectoryCluster(cleanup, AGENTS, { K8S_LOCK_TIMEOUT: `${LOCK_TIMEOUT_MS}ms` });
    await cluster.list(image);
    cluster.start();
  }, READY_MS);

  afterEach(() => cleanup.run(), 60_000);

  async function holderAmong(agents: readonly AgentProcess[]): Promise<AgentProcess | undefined> {
    const held = await Promise.all(agents.map((agent) => agent.metric('image_preheat_lock_held')));
    return agents.find((_, index) => (held[index] ?? 0) > 0);
  }

  /** The holder, once it is in the midst of it. */
  async function busyHolder(): Promise<AgentProcess> {
    const [first] = cluster.agents as [AgentProcess];
    await first.wait('a third read', READY_MS, () =>
      Promise.resolve(sentBytes(registry) > uniqueBytes / 3 || undefined),
    );
    const holder = await holderAmong(cluster.agents);
    if (!holder) throw new Error('nobody holds the lock, but the registry is read');
    return holder;
  }

  async function replacement(holder: AgentProcess, limitMs: number): Promise<number> {
    const startedMs = performance.now();
    const others = cluster.agents.filter((agent) => agent !== holder);
    await others[0]!.wait('another holder', limitMs, () => holderAmong(others));
    return performance.now() - startedMs;
  }

  it(
    'is killed: replaced within 10 s, and the registry sends little of it again',
    async () => {
      const holder = await busyHolder();
      await holder.end('SIGKILL');
      const tookMs = await replacement(holder, 20_000);
      expect(tookMs).toBeLessThanOrEqual(10_000);
      holder.start();
      await idWhenReady(cluster.agents, image, READY_MS);
      const ratio = sentBytes(registry) / uniqueBytes;
      process.stdout.write(
        `killed holder replaced after ${(tookMs / 1000).toFixed(1)} s; registry ÷ unique = ${ratio.toFixed(3)}\n`,
      );
      expect(ratio).toBeLessThanOrEqual(MAX_RATIO);
      for (const agent of cluster.agents) expect(await wrongBlobs(agent)).toEqual([]);
    },
    2 * READY_MS,
  );

  it(
    'is frozen: replaced after its time-out, and when it wakes it reads no more',
    async () => {
      const holder = await busyHolder();
      process.kill(holder.pid, 'SIGSTOP');
      const tookMs = await replacement(holder, LOCK_TIMEOUT_MS + 30_000);
      process.stdout.write(
        `frozen holder, time-out ${LOCK_TIMEOUT_MS / 1000} s, replaced after ${(tookMs / 1000).toFixed(1)} s\n`,
      );
      expect(tookMs).toBeLessThanOrEqual(LOCK_TIMEOUT_MS + 10_000);
      const others = cluster.agents.filter((agent) => agent !== holder);
      await idWhenReady(others, image, READY_MS);

      const requests = registry.ledger.requests.length;
      process.kill(holder.pid, 'SIGCONT');
      await idWhenReady(cluster.agents, image, READY_MS);
      expect(registry.ledger.requests.slice(requests)).toEqual([]);
      expect(await wrongBlobs(holder)).toEqual([]);
    },
    2 * READY_MS,
  );
});
