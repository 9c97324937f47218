import { setTimeout as delay } from 'node:timers/promises';

import { AgentCluster } from '../../test/support/agent-cluster.js';
import { Cleanup } from '../../test/support/cleanup.js';
import type { DockerRegistry } from '../../test/support/docker-registry.js';
import type { LinkHost } from './link-host.js';
import { type NodeResult, RunningNode } from './running-node.js';

const START_MS = 60_000;
const LOOK_MS = 20;
/** Longer than any of these runs: a holder that is killed is replaced since nothing answers at its address. */
const LOCK_TIMEOUT = '60s';

/** Something that happens to one node, which is not waited for any more. */
export interface Trouble {
  readonly meets: 'the lock holder' | 'another node';
  readonly happen: (node: RunningNode) => Promise<void>;
}

export interface SwarmRunOptions {
  readonly hosts: readonly LinkHost[];
  readonly registry: DockerRegistry;
  readonly reference: string;
  readonly trouble?: Trouble | undefined;
}

export interface SwarmNodeResult extends NodeResult {
  readonly durationMs: number;
  /** To peers, until the last one had everything. */
  readonly sentBytes: number;
}

export interface SwarmResult {
  /** From the first byte of a blob out of the registry until the last node had all of them; without the node in trouble. */
  readonly slowestMs: number;
  readonly holder: string;
  /** Of those that are waited for. */
  readonly nodes: readonly SwarmNodeResult[];
  /** Blob bytes, by the registry's own log. */
  readonly registryBytes: number;
}

/** One image to new agents on `hosts`, which want it all at the same moment. */
export async function runSwarm(options: SwarmRunOptions, cleanup: Cleanup): Promise<SwarmResult> {
  const { registry, hosts } = options;
  const run = await cleanup.track(Promise.resolve(new Cleanup()), (it) => it.run());
  try {
    const cluster = await run.track(
      AgentCluster.prepare(
        hosts.map(() => ({ RUNTIME: 'directory', STORE_MAX_SIZE: '16GiB' })),
        {
          INSECURE_REGISTRIES: registry.host,
          K8S_LOCK_TIMEOUT: LOCK_TIMEOUT,
          LOG_LEVEL: 'info',
          API_RATE_LIMIT: '0',
        },
        hosts,
      ),
      (it) => it.dispose(),
    );
    await startAll(cluster);
    await registry.forget();
    const result = await transfer(cluster, options);
    await run.run();
    const traffic = [...(await registry.blobTraffic()).values()];
    return { ...result, registryBytes: traffic.reduce((sum, { bytes }) => sum + bytes, 0) };
  } finally {
    await run.run();
  }
}

/** Resolves when every agent knows every other one. */
async function startAll(cluster: AgentCluster): Promise<void> {
  cluster.start();
  for (const agent of cluster.agents)
    await agent.wait('acquainted with all others', START_MS, async () => {
      const peers = await agent.metric('image_preheat_peers');
      return peers === cluster.agents.length - 1 ? true : undefined;
    });
}

async function transfer(
  cluster: AgentCluster,
  { hosts, reference, trouble }: SwarmRunOptions,
): Promise<Omit<SwarmResult, 'registryBytes'>> {
  const nodes = cluster.agents.flatMap((agent, index) => {
    const host = hosts[index];
    return host ? [new RunningNode(agent, host, reference)] : [];
  });
  await cluster.list(reference);
  const holder = await holderOf(cluster, nodes, reference);
  const other = nodes.find((node) => node !== holder);
  const victim = trouble?.meets === 'the lock holder' ? holder : trouble && other;
  const measured = nodes.filter((node) => node !== victim);
  const [startedMs, arrivals] = await Promise.all([
    firstByte(holder),
    Promise.all(measured.map((node) => node.measure())),
    victim && trouble?.happen(victim),
  ]);
  const results = await Promise.all(
    arrivals.map(async (arrival, index) => ({
      ...arrival,
      durationMs: arrival.endedMs - startedMs,
      sentBytes: (await measured[index]?.sentBytes()) ?? 0,
    })),
  );
  const slowestMs = Math.max(...results.map(({ durationMs }) => durationMs));
  return { slowestMs, holder: holder.name, nodes: results };
}

/** When the first blob byte came out of the registry, on the wall clock. */
async function firstByte(holder: RunningNode): Promise<number> {
  const limitMs = Date.now() + START_MS;
  for (;;) {
    const nowMs = Date.now();
    if ((await holder.registryBytes()) > 0) return nowMs;
    if (nowMs > limitMs) throw new Error(`${holder.name} never read the registry`);
    await delay(LOOK_MS);
  }
}

async function holderOf(
  cluster: AgentCluster,
  nodes: readonly RunningNode[],
  reference: string,
): Promise<RunningNode> {
  const limitMs = performance.now() + START_MS;
  for (;;) {
    const name = (await cluster.lockHolders()).get(reference);
    const holder = nodes.find((node) => node.name === name);
    if (holder) return holder;
    if (performance.now() > limitMs) throw new Error(`no node took the lock of ${reference}`);
    await delay(LOOK_MS);
  }
}
