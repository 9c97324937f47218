import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';

import { hexOf } from '../src/domain/digest.js';
import { AgentCluster } from '../test/support/agent-cluster.js';
import type { AgentProcess } from '../test/support/agent-process.js';
import type { Cleanup } from '../test/support/cleanup.js';
import { DockerEngine } from '../test/support/docker-engine.js';
import { DockerRegistry } from '../test/support/docker-registry.js';
import { missingEngine } from '../test/support/engines.js';
import { ImageBuilder } from '../test/support/image-builder.js';
import { pushImage } from '../test/support/push-image.js';
import type { BenchPart } from './bench-part.js';
import { drain } from './drain.js';
import { type Figure, median } from './figure.js';
import { NginxServer } from './nginx-server.js';
import { ProcessMeter } from './process-meter.js';
import { GIB, type Scale } from './scale.js';

const READY_MS = 900_000;
const IDLE_MS = 3_000;
/** What prom-client's monitor measures are the times between two ticks of this; the rest of them is delay. */
const MONITOR_TICK_MS = 10;

interface Watched {
  readonly idleMiB: number;
  readonly peakMiB: number;
  readonly delayMs: number;
  /** The same of this process, which does next to nothing: what the machine's other work causes. */
  readonly idleDelayMs: number;
}

/** An image of one large layer: to node A from the registry, to node B from A, then again and again from A to a client. */
export const largeLayer: BenchPart = {
  name: 'large-layer',
  programs: ['dockerd', 'docker-registry'],
  async run({ largeLayerBytes, servingRounds }: Scale, cleanup: Cleanup): Promise<readonly Figure[]> {
    const builder = await cleanup.track(ImageBuilder.create(), (it) => it.dispose());
    const registry = await cleanup.track(DockerRegistry.start(), (it) => it.stop());
    const image = await builder.image({
      layers: [{ seed: 'large', sizeBytes: largeLayerBytes, compressible: 0, compression: 'none', files: 1 }],
    });
    await pushImage(image, registry.url, 'bench/large', ['1']);
    const reference = `${registry.host}/bench/large:1`;
    const engines = [await startEngine(cleanup), await startEngine(cleanup)];
    const cluster = await cleanup.track(
      AgentCluster.prepare(
        engines.map(({ host }) => ({ RUNTIME: 'docker', DOCKER_HOST: host, STORE_MAX_SIZE: '64GiB' })),
      ),
      (it) => it.dispose(),
    );
    const [a, b] = cluster.agents;
    const layer = image.images[0]?.layers[0];
    if (!a || !b || !layer) throw new Error('nothing was prepared');

    a.start();
    const [pulling] = await watch([a], async () => {
      await a.list(reference);
      await a.until(reference, 'ready', READY_MS);
    });
    b.start();
    const [serving, receiving] = await watch([a, b], async () => {
      await b.list(reference);
      await b.until(reference, 'ready', READY_MS);
    });
    await b.end();
    const size = `${largeLayerBytes / 1e9} GB layer`;
    const figures = [
      ...passing(`registry → store → Docker, ${size}`, pulling),
      ...passing(`store → peer, ${size}`, serving),
      ...passing(`peer → store → Docker, ${size}`, receiving),
    ];
    const missing = missingEngine('nginx');
    if (missing === undefined) {
      const nginx = await cleanup.track(NginxServer.start(join(a.storeDirectory, 'blobs', 'sha256')), (it) =>
        it.stop(),
      );
      const file = { path: hexOf(layer.digest), size: layer.size };
      const headers = cluster.authorization;
      figures.push(await compareServing({ agent: a, nginx, file, headers, rounds: servingRounds }));
    } else {
      console.error(`\n*** SKIPPED: serving beside nginx: ${missing} ***\n`);
    }
    return figures;
  },
};

function startEngine(cleanup: Cleanup): Promise<DockerEngine> {
  return cleanup.track(DockerEngine.start(), (it) => it.stop());
}

/** Memory and event loop of `agents` while `work` runs, after they were idle for a while. */
async function watch(
  agents: readonly AgentProcess[],
  work: () => Promise<void>,
): Promise<readonly Watched[]> {
  for (const agent of agents)
    await agent.wait('healthy', READY_MS, async () => ((await agent.get('/health')).ok ? true : undefined));
  await delay(IDLE_MS);
  const idle = monitorEventLoopDelay({ resolution: MONITOR_TICK_MS });
  idle.enable();
  const running = work();
  return Promise.all(
    agents.map(async (agent) => {
      const meter = new ProcessMeter(agent.pid);
      const idleMiB = await meter.residentMiB();
      // Reading the metric begins it anew.
      await agent.metric('nodejs_eventloop_lag_p99_seconds');
      const { peakMiB } = await meter.peakMiB(() => running);
      const tickMs = (await agent.metric('nodejs_eventloop_lag_p99_seconds')) * 1000;
      return { idleMiB, peakMiB, delayMs: delayOf(tickMs), idleDelayMs: delayOf(idle.percentile(99) / 1e6) };
    }),
  );
}

/** @param tickMs between two ticks of the monitor */
function delayOf(tickMs: number): number {
  return Math.max(0, tickMs - MONITOR_TICK_MS);
}

function passing(what: string, watched: Watched | undefined): Figure[] {
  if (!watched) throw new Error(`${what} was not watched`);
  const { idleMiB, peakMiB, delayMs, idleDelayMs } = watched;
  return [
    {
      what: `peak RSS, ${what}`,
      value: peakMiB,
      unit: 'MiB',
      target: 200,
      gate: 300,
      detail: `idle ${idleMiB.toFixed(0)} MiB`,
    },
    {
      what: `event-loop delay p99, ${what}`,
      value: delayMs,
      unit: 'ms',
      target: 20,
      gate: 50,
      detail: `an idle process beside it ${idleDelayMs.toFixed(0)} ms`,
    },
  ];
}

interface Serving {
  readonly agent: AgentProcess;
  readonly nginx: NginxServer;
  readonly file: { readonly path: string; readonly size: number };
  readonly headers: Readonly<Record<string, string>>;
  readonly rounds: number;
}

/**
 * The same gigabyte of the same file in the page cache, in turns. Medians: the same round costs either of them up to
 * three times as much when the scheduler puts server and client on other processors, or when memory is busy.
 */
async function compareServing({ agent, nginx, file, headers, rounds }: Serving): Promise<Figure> {
  const bytes = Math.min(GIB, file.size);
  const range = { Range: `bytes=0-${bytes - 1}` };
  const ours = new CpuMeter(agent.pid, () =>
    drain(agent.port, `/v2/bench/large/blobs/sha256:${file.path}`, bytes, { ...headers, ...range }),
  );
  const theirs = new CpuMeter(nginx.pid, () => drain(nginx.port, `/${file.path}`, bytes, range));
  await theirs.warmUp();
  await ours.warmUp();
  for (let round = 0; round < rounds; round += 1) {
    await ours.measure();
    await theirs.measure();
  }
  const perGigabyte = ({ seconds }: CpuMeter): number => median(seconds) / (bytes / 1e9);
  const [agentSeconds, nginxSeconds] = [perGigabyte(ours), perGigabyte(theirs)];
  return {
    what: `CPU per GB served to one client ÷ nginx sendfile`,
    value: agentSeconds / nginxSeconds,
    target: 2,
    gate: 2.5,
    detail: `${agentSeconds.toFixed(3)} s ÷ ${nginxSeconds.toFixed(3)} s, medians of ${rounds} rounds of ${(bytes / 1e6).toFixed(0)} MB each`,
  };
}

/** What a process spends on one thing, and on nothing else, each time. */
class CpuMeter {
  readonly seconds: number[] = [];
  private readonly meter: ProcessMeter;

  constructor(
    pid: number,
    private readonly work: () => Promise<void>,
  ) {
    this.meter = new ProcessMeter(pid);
  }

  async warmUp(): Promise<void> {
    await this.work();
  }

  async measure(): Promise<void> {
    const before = await this.meter.cpuSeconds();
    await this.work();
    this.seconds.push((await this.meter.cpuSeconds()) - before);
  }
}
