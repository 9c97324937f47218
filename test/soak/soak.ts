import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import { AgentCluster } from '../support/agent-cluster.js';
import type { AgentProcess } from '../support/agent-process.js';
import type { Cleanup } from '../support/cleanup.js';
import { addImage } from '../support/demo-images.js';
import { wrongBlobsIn } from '../support/directory-cluster.js';
import { KeyedChance } from '../support/keyed-chance.js';
import { residentBytes } from '../support/target.js';
import { slopeOf, type Sample } from './slope.js';

const KIB = 1024;
const MIB = 1024 * 1024;
const IMAGES = 12;
const SETTLE_MS = 180_000;
const SAMPLE_MS = 5_000;
/** Of its time an agent may grow this much; what is left of one hour at 20 minutes' slope is no figure of a leak. */
const MAX_SLOPE_BYTES_PER_HOUR = 100 * MIB;
/** Of shorter lives a slope is not even printed. */
const SLOPE_MS = 5 * 60_000;
/** Slopes of shorter runs say nothing: caches fill. */
const MIN_SLOPE_MS = 15 * 60_000;

export interface SoakOptions {
  readonly nodes: number;
  readonly seed: number;
}

type Event = 'crash' | 'leave' | 'list' | 'remove' | 'registry fails' | 'registry is away' | 'store deleted';
const EVENTS: readonly [Event, ...Event[]] = [
  'crash',
  'leave',
  'list',
  'list',
  'remove',
  'registry fails',
  'registry is away',
  'store deleted',
];

/** A cluster in which something happens every few seconds, and what is left of it in the end. */
export class Soak {
  private readonly counts = new Map<Event, number>();
  private readonly memory = new Map<number, { readonly agent: string; readonly samples: Sample[] }>();
  private listed: readonly string[] = [];
  private turn = 0;

  private constructor(
    private readonly registry: DemoRegistry,
    private readonly cluster: AgentCluster,
    private readonly images: readonly string[],
    private readonly chance: KeyedChance,
  ) {}

  static async start({ nodes, seed }: SoakOptions, cleanup: Cleanup): Promise<Soak> {
    console.log(`soak: ${nodes} nodes, seed ${seed}`);
    const registry = await cleanup.track(DemoRegistry.start(), (started) => started.stop());
    const images: string[] = [];
    for (let at = 0; at < IMAGES; at += 1) {
      await addImage(registry, `team/soak-${at}`, (200 + 150 * at) * KIB);
      images.push(`${registry.host}/team/soak-${at}:1.0`);
    }
    const own = Array.from({ length: nodes }, () => ({ RUNTIME: 'directory' }));
    const settings = {
      LOG_LEVEL: 'info',
      API_RATE_LIMIT: '0',
      K8S_LOCK_TIMEOUT: '8s',
      PULLING_TIMEOUT: '15s',
      PREHEAT_CONCURRENCY: '4',
    };
    const cluster = await cleanup.track(AgentCluster.prepare(own, settings), (made) => made.dispose());
    cluster.start();
    return new Soak(registry, cluster, images, new KeyedChance(seed));
  }

  /** @returns what is wrong in the end: nothing, if all is well */
  async run(durationMs: number): Promise<readonly string[]> {
    const endMs = performance.now() + durationMs;
    const sampling = new AbortController();
    const sampled = this.sample(sampling.signal);
    await this.changeLists();
    while (performance.now() < endMs) {
      await this.happen();
      await delay(1_000 + this.chance.whole(4_000, 'pause', this.turn));
    }
    const problems = await this.settle();
    sampling.abort();
    await sampled;
    problems.push(...this.report(durationMs));
    if (problems.length === 0)
      console.log('every live node has exactly the listed images, and every store re-hashes clean');
    return problems;
  }

  private async happen(): Promise<void> {
    this.turn += 1;
    const event = this.chance.pick(EVENTS, 'event', this.turn);
    // One lives through all of it, so that its memory has a slope.
    const agents =
      event === 'crash' || event === 'leave' ? this.cluster.agents.slice(1) : this.cluster.agents;
    const agent = agents[this.chance.whole(agents.length, 'node', this.turn)];
    if (!agent) return;
    this.counts.set(event, (this.counts.get(event) ?? 0) + 1);
    const awayMs = 500 + this.chance.whole(4_000, 'away', this.turn);
    switch (event) {
      case 'crash':
        return this.restart(agent, 'SIGKILL', awayMs);
      case 'leave':
        return this.restart(agent, 'SIGTERM', awayMs);
      case 'list':
        return this.changeLists();
      case 'remove':
        // Everything that its runtime has, as a prune would.
        return rm(join(agent.storeDirectory, 'runtime', 'index.json'), { force: true });
      case 'store deleted':
        for (const name of ['blobs', 'partial', 'chunks'])
          await rm(join(agent.storeDirectory, name), { recursive: true, force: true });
        return;
      case 'registry fails':
        this.registry.faults.add(/blobs|manifests/, { kind: 'status', status: 503 }, 5);
        this.registry.faults.add(/blobs/, { kind: 'cut', afterBytes: 40_000 }, 5);
        this.registry.faults.add(/blobs/, { kind: 'corrupt' }, 1);
        return;
      case 'registry is away':
        this.registry.faults.add(/./, { kind: 'reset' }, 1_000);
        await delay(awayMs);
        this.registry.faults.clear();
    }
  }

  private async restart(agent: AgentProcess, signal: NodeJS.Signals, awayMs: number): Promise<void> {
    await agent.end(signal);
    await delay(awayMs);
    agent.start();
  }

  private async changeLists(): Promise<void> {
    this.listed = this.images.filter((image) => this.chance.hits(0.5, 'listed', this.turn, image));
    await this.cluster.list(...this.listed);
  }

  /** Nothing goes wrong any more: every live node gets what is listed, and what it has is what it says. */
  private async settle(): Promise<string[]> {
    this.registry.faults.clear();
    // Failures that the cluster waits out for five minutes are forgotten, as an operator may.
    await rm(join(this.cluster.directory, 'lock.json'), { force: true });
    await this.cluster.list(...this.images);
    this.listed = this.images;
    const problems: string[] = [];
    for (const agent of this.cluster.agents) {
      for (const image of this.listed) {
        // One that was removed too often is fetched when it is asked for.
        await this.request(agent, image);
        await agent.until(image, 'ready', SETTLE_MS).catch((error: unknown) => {
          problems.push(`${agent.node}: ${image} is not ready: ${String(error).slice(0, 300)}`);
        });
      }
      const known = (await agent.images()).map(({ image }) => image).sort();
      if (known.join() !== [...this.listed].sort().join()) problems.push(`${agent.node} has other images`);
      for (const part of ['blobs/sha256', 'runtime/blobs/sha256'])
        for (const name of await wrongBlobsIn(join(agent.storeDirectory, part)))
          problems.push(`${agent.node}: ${part}/${name} is not what its name says`);
      if ((await agent.log()).includes('"level":50')) problems.push(`${agent.node} met what nobody foresaw`);
    }
    return problems;
  }

  private async request(agent: AgentProcess, image: string): Promise<void> {
    const answer = await agent.wait('answering', SETTLE_MS, () =>
      fetch(`${agent.url}/images/preheat`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...this.cluster.authorization },
        body: JSON.stringify({ images: [image] }),
      }),
    );
    await answer.arrayBuffer();
  }

  private async sample(signal: AbortSignal): Promise<void> {
    const startedMs = performance.now();
    while (!signal.aborted) {
      for (const agent of this.cluster.agents.filter(({ isRunning }) => isRunning)) {
        const bytes = await residentBytes(agent).catch(() => NaN);
        // One that has just ended has none.
        if (!Number.isFinite(bytes)) continue;
        // By process: one that was restarted begins anew.
        const known = this.memory.get(agent.pid) ?? { agent: agent.node, samples: [] };
        known.samples.push({ atMs: performance.now() - startedMs, value: bytes });
        this.memory.set(agent.pid, known);
      }
      await delay(SAMPLE_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  private report(durationMs: number): string[] {
    const events = [...this.counts].map(([event, count]) => `${event} ${count}`);
    console.log(`\n${this.turn} events in ${(durationMs / 60_000).toFixed(1)} min: ${events.join(', ')}`);
    console.log(`registry: ${this.registry.ledger.requests.length} requests`);
    const problems: string[] = [];
    const peaks: number[] = [];
    for (const { agent, samples } of this.memory.values()) {
      const [first, last] = [samples[0], samples.at(-1)];
      if (!first || !last) continue;
      const peak = Math.max(...samples.map(({ value }) => value));
      peaks.push(peak);
      const livedMs = last.atMs - first.atMs;
      if (livedMs < SLOPE_MS) continue;
      // Half of them: until then caches fill.
      const perHour = slopeOf(samples.slice(Math.floor(samples.length / 2))) * 3_600_000;
      console.log(
        `${agent} lived ${(livedMs / 1000).toFixed(0)} s: at most ${(peak / MIB).toFixed(0)} MiB, slope ${(perHour / MIB).toFixed(1)} MiB/h`,
      );
      if (livedMs >= MIN_SLOPE_MS && perHour > MAX_SLOPE_BYTES_PER_HOUR)
        problems.push(`${agent} grew by ${(perHour / MIB).toFixed(0)} MiB an hour`);
    }
    console.log(`${peaks.length} processes: at most ${(Math.max(...peaks) / MIB).toFixed(0)} MiB`);
    return problems;
  }
}
