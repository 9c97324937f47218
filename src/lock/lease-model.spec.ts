import { Logger } from '@nestjs/common';
import fc from 'fast-check';

import { VirtualClock } from '../../test/support/virtual-clock.js';
import { LockNode } from '../../test/support/lock-node.js';
import type { Clock } from '../common/clock.js';
import type { ProbeResult } from './holder-probe.js';
import type { Lease } from './lease.js';
import type { LockStore } from './lock-store.js';
import { MemoryLockStore } from './memory/memory-lock-store.js';

const TIMEOUT_MS = 15_000;
const KEY = { image: 'docker.io/library/app:1', platform: 'linux/amd64' };

/** mulberry32: small, seeded, good enough to make trouble with. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One process: it can be frozen (nothing of it runs until it thaws) and killed (nothing of it ever runs again). */
class ModelProcess implements Clock, LockStore {
  frozen = false;
  killed = false;
  lease: Lease | undefined;
  leases = 0;
  readonly service: LockNode;
  private thaw: (() => void)[] = [];

  constructor(
    readonly node: string,
    readonly instance: string,
    private readonly world: ModelWorld,
  ) {
    this.service = new LockNode({
      store: this,
      clock: this,
      node,
      instance,
      timeoutMs: TIMEOUT_MS,
      probe: { probe: (address) => this.gated(Promise.resolve(world.whoAnswersAt(address))) },
      nodes: () => world.nodes,
    });
  }

  get running(): boolean {
    return !this.frozen && !this.killed;
  }

  unfreeze(): void {
    this.frozen = false;
    for (const resume of this.thaw.splice(0)) resume();
  }

  monotonicMs(): number {
    return this.world.clock.monotonicMs();
  }

  wallMs(): number {
    return this.world.clock.wallMs();
  }

  sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    return this.gated(this.world.clock.sleep(durationMs, signal));
  }

  read(_consistency: unknown, signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
    return this.overNetwork((store, unbounded) => store.read('latest', unbounded), signal);
  }

  compareAndSwap(
    key: string,
    expected: string | undefined,
    next: string | undefined,
    signal: AbortSignal,
  ): Promise<boolean> {
    return this.overNetwork(
      (store, unbounded) => store.compareAndSwap(key, expected, next, unbounded),
      signal,
    );
  }

  /** Wants the image again and again, reads for a while when it may, and ends its lease in one of many ways. */
  async live(): Promise<void> {
    const { random } = this.world;
    for (;;) {
      try {
        this.lease = await this.service.lock.acquire(KEY, new AbortController().signal);
        if (!this.lease) {
          await this.sleep(this.service.lock.pollIntervalMs());
          continue;
        }
        this.leases += 1;
        this.world.leases += 1;
        await this.work(this.lease, random() * 60_000);
        await (random() < 0.2 ? this.lease.fail('registry_unreachable', 1) : this.lease.release());
      } catch {
        await this.sleep(1000);
      }
    }
  }

  private async work(lease: Lease, durationMs: number): Promise<void> {
    const untilMs = this.monotonicMs() + durationMs;
    while (lease.mayReadRegistry() && this.monotonicMs() < untilMs) {
      await this.sleep(500);
      if (this.world.random() < 0.05)
        await lease.publish(`sha256:${'0'.repeat(64)}`, 'registry').catch(() => undefined);
    }
  }

  /** A request may be late, lost, or carried out long after its sender has given up; so may its answer. */
  private overNetwork<T>(
    apply: (store: MemoryLockStore, signal: AbortSignal) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const { world } = this;
    const answered = new Promise<T>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      const deliver = async () => {
        await world.clock.sleep(world.networkDelayMs());
        if (world.loses()) return;
        const result = await apply(world.store, new AbortController().signal);
        await world.clock.sleep(world.networkDelayMs());
        if (!world.loses()) resolve(result);
      };
      void deliver();
    });
    return this.gated(answered);
  }

  /** Nothing reaches a process that does not run. */
  private async gated<T>(event: Promise<T>): Promise<T> {
    try {
      return await event;
    } finally {
      while (!this.running) await new Promise<void>((resolve) => this.thaw.push(resolve));
    }
  }
}

class ModelWorld {
  readonly clock = new VirtualClock();
  readonly store = new MemoryLockStore();
  readonly nodes = ['n0', 'n1', 'n2', 'n3'];
  faulty = true;
  leases = 0;
  processes: ModelProcess[] = [];
  private births = 0;

  constructor(readonly random: () => number) {
    for (const node of this.nodes) this.start(node);
  }

  networkDelayMs(): number {
    const trouble = this.faulty ? this.random() : 1;
    if (trouble < 0.02) return this.random() * 60_000;
    return trouble < 0.2 ? this.random() * 3000 : this.random() * 50;
  }

  loses(): boolean {
    return this.faulty && this.random() < 0.03;
  }

  whoAnswersAt(address: string): ProbeResult {
    const process = this.processes.findLast(({ node, killed }) => address === `${node}:8080` && !killed);
    if (!process) return 'refused';
    return process.frozen ? 'silent' : { instance: process.instance, node: process.node };
  }

  /** Now and then something happens to somebody. */
  trouble(): void {
    const victim = this.processes[Math.floor(this.random() * this.processes.length)];
    const dice = this.random();
    if (!victim) return;
    if (dice < 0.3) victim.frozen = true;
    else if (dice < 0.7) this.processes.forEach((process) => this.random() < 0.5 && process.unfreeze());
    else if (dice < 0.8) {
      victim.killed = true;
      this.processes = this.processes.filter((process) => process !== victim);
      // At once, as kubelet would; sometimes the node is gone for good, but never the last one.
      if (this.processes.length === 0 || this.random() < 0.8) this.start(victim.node);
    }
  }

  assertOneReader(): void {
    const readers = this.processes.filter(({ running, lease }) => running && lease?.mayReadRegistry());
    if (readers.length > 1)
      throw new Error(`${readers.map(({ instance }) => instance).join(' and ')} read at once`);
  }

  private start(node: string): void {
    this.births += 1;
    const process = new ModelProcess(node, `${node}-${this.births}`, this);
    this.processes.push(process);
    void process.live();
  }
}

beforeAll(() => {
  Logger.overrideLogger(false);
});

describe('leases, with a network that loses and delays, and processes that freeze and die', () => {
  afterEach(() => void jest.restoreAllMocks());

  it('never let two read at once, and let someone read again when the trouble is over', async () => {
    let leases = 0;
    await fc.assert(
      fc.asyncProperty(fc.integer(), async (seed) => {
        const random = randomFrom(seed);
        jest.spyOn(Math, 'random').mockImplementation(random);
        const world = new ModelWorld(random);
        for (let step = 0; step < 100; step += 1) {
          await world.clock.advance(3000, () => world.assertOneReader());
          world.trouble();
          // The first thing that a process asks when it wakes must already have the right answer.
          world.assertOneReader();
        }
        world.faulty = false;
        world.processes.forEach((process) => process.unfreeze());
        const before = world.processes.map((process) => process.leases);
        // The longest that a failure may have to be waited out.
        await world.clock.advance(400_000, () => world.assertOneReader());
        const gained = world.processes.some((process, index) => process.leases > (before[index] ?? 0));
        expect(gained).toBe(true);
        leases += world.leases;
      }),
      { numRuns: 25 },
    );
    // Otherwise the trouble was so bad that nothing was proven.
    expect(leases).toBeGreaterThan(100);
  }, 60_000);
});
