import { Logger } from '@nestjs/common';

import { PreheatNode } from '../../test/support/preheat-node.js';
import { VirtualClock } from '../../test/support/virtual-clock.js';
import { wantedImage } from '../../test/support/wanted-image.js';
import { digestOf } from '../domain/digest.js';
import { PreheatFailure } from '../domain/errors.js';
import { MemoryLockStore } from '../lock/memory/memory-lock-store.js';
import type { RepoDigestRestorer } from '../runtime/repo-digest-restorer.js';
import { DigestNaming } from './digest-naming.js';
import type { Upkeep } from './upkeep.js';
import { keyOf } from './wanted-image.js';

const MINUTE_MS = 60_000;
const DIGEST = digestOf(Buffer.from('an index'));
const ENTRY = wantedImage(`registry.example/app@${DIGEST}`);
const { signal } = new AbortController();

let clock: VirtualClock;
let store: MemoryLockStore;
/** Times at which a runtime asked the registry, with the node's name. */
let asked: { readonly node: string; readonly atMs: number }[];
let answer: () => Promise<void>;

beforeAll(() => {
  Logger.overrideLogger(false);
});
beforeEach(() => {
  clock = new VirtualClock();
  store = new MemoryLockStore();
  asked = [];
  answer = () => Promise.resolve();
});

interface NamingNode {
  readonly naming: DigestNaming;
  readonly agent: PreheatNode;
  /** Names of pulls were swept away after the image got its own. */
  readonly isNamed: () => boolean;
}

function nodeNamed(name: string, nodes: readonly string[] = [name]): NamingNode {
  const never = (): Promise<never> => Promise.reject(new Error('not in this test'));
  const surroundings = { resolve: never, bring: never };
  const agent = new PreheatNode({ store, clock, node: name, surroundings, nodes: () => nodes });
  agent.status.enter(keyOf(ENTRY), 'ready');
  let isNamed = false;
  const restorer: RepoDigestRestorer = {
    restoreLocally: never,
    restore: async () => {
      asked.push({ node: name, atMs: clock.monotonicMs() });
      await answer();
    },
  };
  const upkeep: Partial<Upkeep> = {
    sweepNames: () => {
      isNamed = true;
      return Promise.resolve();
    },
  };
  const { lock } = agent.lock;
  const naming = new DigestNaming(lock, agent.holder, restorer, upkeep as Upkeep, agent.status, clock);
  return { naming, agent, isNamed: () => isNamed };
}

/** Tries for `durationMs`, as the runner does. */
async function live(nodes: readonly NamingNode[], durationMs: number): Promise<void> {
  const ended = new AbortController();
  const tasks = nodes.map(async ({ naming, isNamed }) => {
    while (!isNamed()) await naming.tryOnce(ENTRY, DIGEST, ended.signal);
  });
  await clock.advance(durationMs);
  ended.abort();
  await Promise.allSettled(tasks);
}

const cluster = (size: number): NamingNode[] => {
  const names = Array.from({ length: size }, (_, index) => `n${index}`);
  return names.map((name) => nodeNamed(name, names));
};

describe('The digest of an image that only its registry can make resolve', () => {
  it('is asked for by one node after another, until all have it', async () => {
    const nodes = cluster(5);
    let atOnce = 0;
    answer = async () => {
      atOnce += 1;
      expect(atOnce).toBe(1);
      await clock.sleep(1000);
      atOnce -= 1;
    };
    await live(nodes, 2 * MINUTE_MS);
    expect(nodes.every(({ isNamed }) => isNamed())).toBe(true);
    expect(asked).toHaveLength(5);
  });

  it.each(['unauthorized', 'not_found'] as const)(
    'is asked for 3 times in 10 minutes by 20 nodes to whom the registry says %s',
    async (reason) => {
      answer = () => Promise.reject(new PreheatFailure(reason, 'as told'));
      await live(cluster(20), 10 * MINUTE_MS);
      expect(asked.length).toBeGreaterThanOrEqual(2);
      expect(asked.length).toBeLessThanOrEqual(3);
    },
  );

  it('leaves the image ready, and says what it waits for', async () => {
    answer = () => Promise.reject(new PreheatFailure('unauthorized', 'Docker could not read the manifest'));
    const [first, second] = cluster(2);
    await live([first!, second!], MINUTE_MS);
    const messages = [first!, second!].map(({ agent }) => {
      const status = agent.status.get(keyOf(ENTRY));
      expect(status?.state).toBe('ready');
      return status?.message;
    });
    for (const message of messages)
      expect(message).toMatch(/^the image is there, but not yet by its digest: /);
    expect(messages.join()).toMatch(/met unauthorized/);
  });

  it('is asked for again when the registry is back', async () => {
    answer = () => Promise.reject(new PreheatFailure('registry_error', 'down'));
    const [only] = cluster(1);
    const isBack = clock.sleep(20 * MINUTE_MS).then(() => (answer = () => Promise.resolve()));
    await live([only!], 30 * MINUTE_MS);
    await isBack;
    expect(only!.isNamed()).toBe(true);
    expect(asked.length).toBeLessThan(20);
  });

  it('is not asked for while the node has no slot for it, and nobody waits for its lock', async () => {
    const [busy, other] = cluster(2);
    const slot = busy!.agent.slots.forHolder(signal);
    await slot.take();
    await live([busy!, other!], MINUTE_MS);
    expect(asked.map(({ node }) => node)).toEqual(['n1']);
    slot.leave();
  });

  it('is not waited for while the runtime itself is down', async () => {
    const down = new PreheatFailure('runtime_unreachable', 'down');
    answer = () => Promise.reject(down);
    const [only] = cluster(1);
    await expect(clock.run(only!.naming.tryOnce(ENTRY, DIGEST, signal))).rejects.toBe(down);
    const { failure } = await clock.run(only!.agent.lock.lock.lookup(keyOf(ENTRY), signal));
    expect(failure).toBeUndefined();
  });
});
