import { Logger } from '@nestjs/common';

import { PreheatNode, type Surroundings } from '../../test/support/preheat-node.js';
import { VirtualClock } from '../../test/support/virtual-clock.js';
import { wantedImage } from '../../test/support/wanted-image.js';
import { type Digest, digestOf } from '../domain/digest.js';
import { PreheatFailure } from '../domain/errors.js';
import type { FailureReason } from '../domain/preheat-state.js';
import type { RecordView } from '../lock/record-view.js';
import { MemoryLockStore } from '../lock/memory/memory-lock-store.js';
import { keyOf } from './wanted-image.js';

const MINUTE_MS = 60_000;
const TAG_TTL_MS = 24 * 60 * MINUTE_MS;
const OLD = digestOf(Buffer.from('what the tag meant'));
const NEW = digestOf(Buffer.from('what it means now'));
const TAG = wantedImage('registry.example/app:1');
const { signal } = new AbortController();

let clock: VirtualClock;
let store: MemoryLockStore;
/** What the registry was asked, in order: `tag` or the digest that was read. */
let asked: string[];
let surroundings: Surroundings;

beforeAll(() => {
  Logger.overrideLogger(false);
});
beforeEach(() => {
  clock = new VirtualClock();
  store = new MemoryLockStore();
  asked = [];
  surroundings = {
    resolve: () => {
      asked.push('tag');
      return Promise.resolve(NEW);
    },
    bring: (digest, isHolder) => {
      if (isHolder) asked.push(digest);
      return Promise.resolve(isHolder ? { kind: 'complete', root: digest } : { kind: 'no_source' });
    },
  };
});

function node(name: string, changes: Partial<Surroundings> = {}, preheatConcurrency = 1): PreheatNode {
  return new PreheatNode({
    store,
    clock,
    node: name,
    surroundings: { ...surroundings, ...changes },
    nodes: () => ['a', 'b', 'c'],
    tagTtlMs: TAG_TTL_MS,
    preheatConcurrency,
  });
}
const attempt = (agent: PreheatNode, wanted = TAG) =>
  clock.run(agent.holder.attempt(agent.session(wanted), false, signal));
const view = ({ lock }: PreheatNode, wanted = TAG): Promise<RecordView> =>
  clock.run(lock.lock.lookup(keyOf(wanted), signal));
const failing = (reason: FailureReason, retryAfterMs?: number) => (): Promise<never> =>
  Promise.reject(new PreheatFailure(reason, 'as told', retryAfterMs === undefined ? {} : { retryAfterMs }));
async function record(digest: Digest, origin: 'registry' | 'archive' = 'registry'): Promise<void> {
  const lease = await clock.run(node('before').lock.lock.acquire(keyOf(TAG), signal));
  await lease?.publish(digest, origin);
  await lease?.release();
  await clock.advance(MINUTE_MS);
}

describe('A lock holder', () => {
  it('asks once what a tag means, tells everyone, reads it, and gives the lock back', async () => {
    const a = node('a');
    expect(await attempt(a)).toEqual({ kind: 'complete', root: NEW });
    expect(asked).toEqual(['tag', NEW]);
    expect(a.pulls).toEqual(['success']);
    const known = await view(node('b'));
    expect(known).toMatchObject({ digest: NEW, origin: 'registry', stale: false });
    expect(known.holder).toBeUndefined();
  });

  it('asks nothing about a tag that the record explains', async () => {
    await record(OLD);
    expect(await attempt(node('a'))).toEqual({ kind: 'complete', root: OLD });
    expect(asked).toEqual([OLD]);
  });

  it('asks again once TAG_TTL is over: the tag may have moved', async () => {
    await record(OLD);
    await clock.advance(TAG_TTL_MS);
    expect(await attempt(node('a'))).toEqual({ kind: 'complete', root: NEW });
    expect(asked).toEqual(['tag', NEW]);
    expect(await view(node('b'))).toMatchObject({ digest: NEW, stale: false });
  });

  it('asks again at once when the recorded digest is gone everywhere', async () => {
    await record(OLD);
    const bring: Surroundings['bring'] = (digest) =>
      digest === OLD ? failing('not_found')() : surroundings.bring(digest, true, 'a');
    expect(await attempt(node('a', { bring }))).toEqual({ kind: 'complete', root: NEW });
    expect(asked).toEqual(['tag', NEW]);
    expect((await view(node('b'))).digest).toBe(NEW);
  });

  it('asks once more when the digest that the registry has just named is of nothing', async () => {
    const digests = [OLD, NEW];
    const resolve: Surroundings['resolve'] = () => {
      asked.push('tag');
      return Promise.resolve(digests.shift()!);
    };
    const bring: Surroundings['bring'] = (digest) =>
      digest === OLD ? failing('not_found')() : surroundings.bring(digest, true, 'a');
    expect(await attempt(node('a', { resolve, bring }))).toEqual({ kind: 'complete', root: NEW });
    expect(asked).toEqual(['tag', 'tag', NEW]);
  });

  it('fails when what is gone is what the tag still means, or what an entry names itself', async () => {
    await record(NEW);
    const gone = { bring: failing('not_found') };
    await expect(attempt(node('a', gone))).rejects.toMatchObject({ reason: 'not_found' });
    expect(asked).toEqual(['tag']);
    const byDigest = wantedImage(`registry.example/app@${OLD}`);
    await expect(attempt(node('b', gone), byDigest)).rejects.toMatchObject({ reason: 'not_found' });
    expect(asked).toEqual(['tag']);
  });

  it.each<FailureReason>(['registry_error', 'unauthorized', 'corrupt', 'timeout'])(
    'that meets %s makes it known to all',
    async (reason) => {
      const a = node('a', { bring: failing(reason) });
      await expect(attempt(a)).rejects.toMatchObject({ reason });
      expect(a.pulls).toEqual(['failure']);
      expect((await view(node('b'))).failure).toMatchObject({ reason });
      expect(await attempt(node('b'))).toBeUndefined();
      expect(asked).toEqual(['tag']);
    },
  );

  it('keeps to itself what is its own trouble', async () => {
    await expect(attempt(node('a', { bring: failing('insufficient_disk') }))).rejects.toMatchObject({
      reason: 'insufficient_disk',
    });
    expect((await view(node('b'))).failure).toBeUndefined();
  });

  it('meets a damaged blob, or a stalled one, no more often than a network error: 3 of a round', async () => {
    const names = Array.from({ length: 20 }, (_, index) => `n${index}`);
    let reads = 0;
    const bring: Surroundings['bring'] = (_digest, isHolder) => {
      if (!isHolder) return Promise.resolve({ kind: 'no_source' });
      reads += 1;
      return failing('corrupt')();
    };
    const live = async (name: string): Promise<never> => {
      const agent = node(name, { bring });
      const { lock } = agent.lock;
      for (;;) {
        const { failure } = await lock.lookup(keyOf(TAG), signal);
        if (!failure) await agent.holder.attempt(agent.session(TAG), false, signal).catch(() => undefined);
        await clock.sleep(lock.pollIntervalMs());
      }
    };
    for (const name of names) void live(name);
    await clock.advance(MINUTE_MS);
    expect(reads).toBe(3);
    await clock.advance(4 * MINUTE_MS);
    expect(reads).toBeLessThanOrEqual(9);
  });
});

describe('A stale digest whose registry cannot be asked', () => {
  beforeEach(async () => {
    await record(OLD);
    await clock.advance(TAG_TTL_MS);
  });

  it('serves meanwhile, and the failure is in the record with the registry’s own time', async () => {
    const limited = node('a', { resolve: failing('rate_limited', 10 * MINUTE_MS) });
    expect(await attempt(limited)).toEqual({ kind: 'no_source' });
    expect(asked).toEqual([]);
    const { failure, digest, holder, stale } = await view(node('b'));
    expect({ digest, stale, holder }).toEqual({ digest: OLD, stale: true, holder: undefined });
    expect(failure?.reason).toBe('rate_limited');
    expect(failure?.retryAfterMs).toBeGreaterThan(9 * MINUTE_MS);
  });

  it('is what 50 nodes get from their peers, for the questions of a single one', async () => {
    let questions = 0;
    const resolve = (): Promise<never> => {
      questions += 1;
      return failing('rate_limited', 10 * MINUTE_MS)();
    };
    const bring: Surroundings['bring'] = (digest, isHolder) =>
      isHolder ? failing('rate_limited')() : Promise.resolve({ kind: 'complete', root: digest });
    const nodes = Array.from({ length: 50 }, (_, index) => node(`n${index}`, { resolve, bring }));
    await clock.run(Promise.all(nodes.map((agent) => agent.preheater.preheat(agent.session(TAG), signal))));
    expect(questions).toBe(1);
  });

  it('serves no longer when the registry says that the tag is gone', async () => {
    const a = node('a', { resolve: failing('not_found') });
    await expect(attempt(a)).rejects.toMatchObject({ reason: 'not_found' });
  });
});

describe('A digest that an archive gave', () => {
  const day = async (): Promise<void> => {
    await record(OLD, 'archive');
    await clock.advance(TAG_TTL_MS);
  };

  it.each<FailureReason>(['not_found', 'unauthorized'])(
    'stays what the tag means, for another TAG_TTL, when the registry answers %s',
    async (reason) => {
      await day();
      const a = node('a', { resolve: failing(reason) });
      expect(await attempt(a)).toEqual({ kind: 'complete', root: OLD });
      const known = await view(node('b'));
      expect(known).toMatchObject({ digest: OLD, origin: 'archive', stale: false });
      expect(known.failure).toBeUndefined();
    },
  );

  it('gives way to what the registry says, where it knows the image', async () => {
    await day();
    expect(await attempt(node('a'))).toEqual({ kind: 'complete', root: NEW });
    expect(await view(node('b'))).toMatchObject({ digest: NEW, origin: 'registry' });
  });

  it('is published without a question to the registry where no record explains the tag', async () => {
    const a = node('a', { archived: () => OLD });
    const outcome = await clock.run(a.holder.attempt(a.session(TAG), true, signal));
    expect(outcome).toEqual({ kind: 'complete', root: OLD });
    expect(asked).toEqual([OLD]);
    expect(await view(node('b'))).toMatchObject({ digest: OLD, origin: 'archive' });
  });
});

describe('A node that is busy', () => {
  const OTHER = wantedImage('registry.example/other:1');

  it('takes no lock before it has a slot: another node brings the image meanwhile', async () => {
    const busy = node('a');
    const work = Promise.withResolvers<undefined>();
    const working = busy.slots.work(0, signal, () => work.promise);
    const waiting = busy.holder.attempt(busy.session(OTHER), false, signal);
    await clock.advance(MINUTE_MS);
    expect((await view(node('b'), OTHER)).holder).toBeUndefined();
    expect(await attempt(node('b'), OTHER)).toEqual({ kind: 'complete', root: NEW });
    work.resolve(undefined);
    await working;
    expect(await clock.run(waiting)).toBeUndefined();
    expect(asked).toEqual(['tag', NEW]);
  });

  it('gives the slot back with the lock', async () => {
    const a = node('a');
    await attempt(a);
    await a.slots.work(0, signal, () => Promise.resolve());
  });

  it('gives it back also when somebody else was faster', async () => {
    const [a, b] = [node('a'), node('b')];
    const lease = await clock.run(b.lock.lock.acquire(keyOf(TAG), signal));
    expect(lease).toBeDefined();
    expect(await attempt(a)).toBeUndefined();
    await a.slots.work(0, signal, () => Promise.resolve());
  });
});
