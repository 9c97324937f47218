import { Logger } from '@nestjs/common';

import { LockNode, type LockNodeOptions, MemoryRecordCache } from '../../test/support/lock-node.js';
import { VirtualClock } from '../../test/support/virtual-clock.js';
import { type Digest, digestOf } from '../domain/digest.js';
import { PreheatFailure } from '../domain/errors.js';
import type { ProbeResult } from './holder-probe.js';
import { recordKeyOf } from './image-key.js';
import type { Lease } from './lease.js';
import type { Consistency, LockStore } from './lock-store.js';
import { MemoryLockStore } from './memory/memory-lock-store.js';
import { encodeRecord, type LockRecord } from './record.js';
import type { RecordKey } from './record-key.js';

const TIMEOUT_MS = 300_000;
const MINUTE_MS = 60_000;
const DIGEST: Digest = digestOf(Buffer.from('an index'));
const KEY = { image: 'docker.io/library/app:1', platform: 'linux/amd64' };
const RECORD_KEY = recordKeyOf(KEY);
const { signal } = new AbortController();

/** Counts what is asked of it, and can be out of order. */
class TestStore implements LockStore {
  readonly records = new MemoryLockStore();
  reads: Consistency[] = [];
  swaps = 0;
  /** `down`: nothing works; `mute`: swaps work, but nobody hears of it; `refusing`: it can be read only. */
  state: 'up' | 'down' | 'mute' | 'refusing' = 'up';

  async read(consistency: Consistency, abort: AbortSignal): Promise<ReadonlyMap<string, string>> {
    this.reads.push(consistency);
    if (this.state === 'down') throw new PreheatFailure('lock_unavailable', 'down');
    return this.records.read(consistency, abort);
  }

  async compareAndSwap(
    key: string,
    expected: string | undefined,
    next: string | undefined,
    abort: AbortSignal,
  ): Promise<boolean> {
    this.swaps += 1;
    if (this.state === 'down') throw new PreheatFailure('lock_unavailable', 'down');
    if (this.state === 'refusing')
      throw new PreheatFailure('lock_unavailable', 'ConfigMap lock: PATCH configmaps/lock: 403 Forbidden');
    const swapped = await this.records.compareAndSwap(key, expected, next, abort);
    if (this.state === 'mute') throw new PreheatFailure('lock_unavailable', 'no answer');
    return swapped;
  }

  async recordOf(key = RECORD_KEY): Promise<LockRecord | undefined> {
    const text = (await this.records.read('latest', signal)).get(key);
    return text === undefined ? undefined : (JSON.parse(text) as LockRecord);
  }

  async put(record: LockRecord, macKey?: Buffer, key = RECORD_KEY): Promise<void> {
    const current = (await this.records.read('latest', signal)).get(key);
    await this.records.compareAndSwap(key, current, encodeRecord(key, record, macKey), signal);
  }
}

jest.setTimeout(60_000);

let clock: VirtualClock;
let store: TestStore;

beforeAll(() => {
  Logger.overrideLogger(false);
});
beforeEach(() => {
  clock = new VirtualClock();
  store = new TestStore();
});

function nodeNamed(node: string, options: Partial<LockNodeOptions> = {}): LockNode {
  return new LockNode({ store, clock, node, timeoutMs: TIMEOUT_MS, ...options });
}
/** The newest first; may be changed. */
function keysOf(...keys: Buffer[]): RecordKey & { keys: Buffer[]; suspicions: number } {
  return {
    keys,
    suspicions: 0,
    current() {
      return Promise.resolve(this.keys);
    },
    suspect() {
      this.suspicions += 1;
    },
  };
}
const acquire = ({ lock }: LockNode) => clock.run(lock.acquire(KEY, signal));
async function acquired(node: LockNode): Promise<Lease> {
  const lease = await acquire(node);
  if (!lease) throw new Error('no lease');
  return lease;
}
const view = ({ lock }: LockNode, key = KEY) => clock.run(lock.lookup(key, signal));

describe('a lease', () => {
  it('is one for the cluster, shows its holder to all, and leaves the digest behind', async () => {
    const [one, other] = [nodeNamed('one'), nodeNamed('other')];
    const lease = await acquired(one);
    expect(lease.mayReadRegistry()).toBe(true);
    expect(await acquire(other)).toBeUndefined();
    expect(await acquire(one)).toBeUndefined();
    await lease.publish(DIGEST, 'registry');
    await clock.advance(2000);
    expect(await view(other)).toEqual({
      digest: DIGEST,
      origin: 'registry',
      stale: false,
      holder: { node: 'one', instance: 'one-1', address: 'one:8080', mine: false },
      unknownVersion: false,
      readOnly: false,
    });
    await lease.release();
    expect(lease.mayReadRegistry()).toBe(false);
    expect(lease.signal.aborted).toBe(true);
    await clock.advance(2000);
    expect(await view(other)).toEqual({
      digest: DIGEST,
      origin: 'registry',
      stale: false,
      unknownVersion: false,
      readOnly: false,
    });
    expect(await acquire(other)).toBeDefined();
  });

  it('that nothing came of leaves no record', async () => {
    await (await acquired(nodeNamed('one'))).release();
    expect(await store.recordOf()).toBeUndefined();
  });

  it('is renewed every third of the time-out, by one swap and no read', async () => {
    const lease = await acquired(nodeNamed('one'));
    store.reads = [];
    store.swaps = 0;
    await clock.advance(TIMEOUT_MS * 4);
    expect(store.swaps).toBe(12);
    expect(store.reads).toEqual([]);
    expect(lease.mayReadRegistry()).toBe(true);
    expect((await store.recordOf())?.holder?.renewals).toBe(12);
  });

  it('ends two thirds of the time-out after the last successful swap was sent', async () => {
    const lease = await acquired(nodeNamed('one'));
    await clock.advance(TIMEOUT_MS / 3 + 1);
    store.state = 'down';
    await clock.advance((TIMEOUT_MS * 2) / 3 - 2);
    expect(lease.mayReadRegistry()).toBe(true);
    await clock.advance(2);
    expect(lease.mayReadRegistry()).toBe(false);
    expect(lease.signal.reason).toMatchObject({ reason: 'lock_unavailable' });
  });

  it('goes on when a swap was done but not answered, as a read that sees all swaps tells', async () => {
    const lease = await acquired(nodeNamed('one'));
    store.state = 'mute';
    await clock.run(lease.publish(DIGEST, 'registry'));
    expect(store.reads.at(-1)).toBe('latest');
    await clock.advance(TIMEOUT_MS * 2);
    expect(lease.mayReadRegistry()).toBe(true);
  });

  it('ends at once when someone else is in its record', async () => {
    const lease = await acquired(nodeNamed('one'));
    const record = await store.recordOf();
    await store.put({ ...record!, holder: { ...record!.holder!, instance: 'thief', term: 9 } });
    await clock.advance(TIMEOUT_MS / 3 + 1);
    expect(lease.mayReadRegistry()).toBe(false);
    await lease.release();
    expect((await store.recordOf())?.holder?.instance).toBe('thief');
    await expect(lease.publish(DIGEST, 'registry')).rejects.toMatchObject({ reason: 'lock_unavailable' });
  });

  it('is given back at shutdown, and none is taken after', async () => {
    const node = nodeNamed('one');
    const lease = await acquired(node);
    await lease.publish(DIGEST, 'archive');
    await clock.run(node.keeper.beforeApplicationShutdown());
    expect(await store.recordOf()).toMatchObject({ digest: DIGEST, origin: 'archive' });
    expect((await store.recordOf())?.holder).toBeUndefined();
    expect(await acquire(node)).toBeUndefined();
  });

  it('keeps what newer agents have put into its record', async () => {
    await store.put({ v: 1, image: KEY.image, platform: KEY.platform, digest: DIGEST, hint: { a: 1 } });
    const lease = await acquired(nodeNamed('one'));
    await lease.publish(DIGEST, 'registry');
    await lease.release();
    expect(await store.recordOf()).toMatchObject({ hint: { a: 1 }, digest: DIGEST });
  });
});

describe('taking over', () => {
  it('waits a whole time-out since this waiter last saw the record change', async () => {
    const lease = await acquired(nodeNamed('dead'));
    const waiter = nodeNamed('waiter');
    await clock.advance(TIMEOUT_MS / 3 + 1);
    await view(waiter);
    store.state = 'down'; // for the holder: its renewals fail from here
    await clock.advance(TIMEOUT_MS - 2);
    expect(lease.mayReadRegistry()).toBe(false);
    store.state = 'up';
    expect(await acquire(waiter)).toBeUndefined();
    await clock.advance(2500);
    const taken = await acquired(waiter);
    expect(taken.mayReadRegistry()).toBe(true);
    expect((await store.recordOf())?.holder).toMatchObject({ node: 'waiter', term: 2 });
  });

  const proofs: [string, ProbeResult[], boolean, number][] = [
    ['refuses twice, a second apart', ['refused', 'refused'], true, 1000],
    ['refuses once and then answers', ['refused', { instance: 'holder-1', node: 'holder' }], false, 1000],
    ['refuses once and is silent then', ['refused', 'silent'], false, 1000],
    ['answers as another process', [{ instance: 'holder-2', node: 'holder' }], true, 0],
    ['answers as the holder', [{ instance: 'holder-1', node: 'holder' }], false, 0],
    ['is silent', ['silent'], false, 0],
  ];
  it.each(proofs)('goes by proof when the address %s', async (_what, answers, replaced, afterMs) => {
    await acquired(nodeNamed('holder'));
    const asked: string[] = [];
    const probe = (address: string): Promise<ProbeResult> => {
      asked.push(address);
      return Promise.resolve(answers[asked.length - 1] ?? 'silent');
    };
    const startedMs = clock.monotonicMs();
    const lease = await acquire(nodeNamed('waiter', { probe: { probe } }));
    expect(lease !== undefined).toBe(replaced);
    expect(asked).toEqual(answers.map(() => 'holder:8080'));
    expect(clock.monotonicMs() - startedMs).toBe(afterMs);
  });

  it('asks a silent holder again only after a while, once for all its images', async () => {
    const holder = nodeNamed('holder');
    const other = { ...KEY, image: 'docker.io/library/other:1' };
    await acquired(holder);
    await clock.run(holder.lock.acquire(other, signal));
    let asked = 0;
    const probe = (): Promise<ProbeResult> => {
      asked += 1;
      return clock.sleep(1000).then(() => 'silent');
    };
    const { lock } = nodeNamed('waiter', { probe: { probe } });
    await clock.run(Promise.all([lock.acquire(KEY, signal), lock.acquire(other, signal)]));
    await clock.run(lock.acquire(KEY, signal));
    expect(asked).toBe(1);
    await clock.advance(2000);
    await clock.run(lock.acquire(KEY, signal));
    expect(asked).toBe(2);
  });

  it('is immediate for an agent that finds its own node under an old instance', async () => {
    await acquired(nodeNamed('one', { instance: 'old' }));
    const nodes = () => Array.from({ length: 30 }, (_, index) => `n${index}`);
    const startedMs = clock.monotonicMs();
    expect(await acquire(nodeNamed('one', { instance: 'new', nodes }))).toBeDefined();
    expect(clock.monotonicMs()).toBe(startedMs);
    // Two agents on one host may share its name, but not an address.
    const twin = nodeNamed('one', { instance: 'twin', address: 'one:8081' });
    expect(await acquire(twin)).toBeUndefined();
  });

  it('is immediate too for a lock of this process that it does not know of', async () => {
    const node = nodeNamed('one');
    store.state = 'mute';
    const reading = jest
      .spyOn(store.records, 'read')
      .mockRejectedValue(new PreheatFailure('lock_unavailable', '?'));
    store.reads = [];
    await expect(acquire(node)).rejects.toMatchObject({ reason: 'lock_unavailable' });
    reading.mockRestore();
    store.state = 'up';
    await store.put({
      v: 1,
      ...KEY,
      holder: { node: 'one', instance: 'one-1', address: 'one:8080', term: 1, renewals: 0 },
    });
    await clock.advance(2000);
    const lease = await acquired(node);
    expect(lease.mayReadRegistry()).toBe(true);
  });
});

describe('whose turn it is', () => {
  const names = Array.from({ length: 1000 }, (_, index) => `n${index}`);

  it('goes by rank, 300 ms apart, so that of many at once one tries and the others see it', async () => {
    const nodes = names.slice(0, 20);
    const agents = nodes.map((node) => nodeNamed(node, { nodes: () => nodes }));
    const leases = await clock.run(Promise.all(agents.map(({ lock }) => lock.acquire(KEY, signal))));
    expect(leases.filter(Boolean)).toHaveLength(1);
    expect(store.swaps).toBe(1);
  });

  it('comes later, by polling, for those behind the first 33, without a stampede', async () => {
    const agents = names.map((node) => nodeNamed(node, { nodes: () => names }));
    const leases = await clock.run(Promise.all(agents.map(({ lock }) => lock.acquire(KEY, signal))));
    expect(leases.filter(Boolean)).toHaveLength(1);
    expect(store.reads.length).toBeLessThan(1000 + 40);
    expect(clock.monotonicMs()).toBeLessThanOrEqual(10_000);
  });

  it('comes for the last one as well, when nobody before it wants the image', async () => {
    let lease: Lease | undefined;
    const agents = names.slice(0, 100).map((node) => nodeNamed(node, { nodes: () => names.slice(0, 100) }));
    for (const { lock } of agents) {
      lease = await clock.run(lock.acquire(KEY, signal));
      await clock.advance(lock.pollIntervalMs() + 10_000);
      lease ??= await clock.run(lock.acquire(KEY, signal));
      expect(lease).toBeDefined();
      await clock.run(lease!.release());
    }
  });

  it('is not waited for any longer when somebody was faster', async () => {
    const nodes = names.slice(0, 20);
    const agents = nodes.map((node) => nodeNamed(node, { nodes: () => nodes }));
    let lost = 0;
    const tries = agents.map(async ({ lock }) => {
      const lease = await lock.acquire(KEY, signal);
      if (lease) await lease.publish(DIGEST, 'registry');
      else {
        lost += 1;
        expect(clock.monotonicMs()).toBeLessThanOrEqual(1000 * 1.5 + 300 * 1.3);
        expect(lock.known(KEY).holder).toBeDefined();
      }
    });
    await clock.run(Promise.all(tries));
    expect(lost).toBe(19);
  });

  it.each([
    [
      'every max(2 s, peers/20 s)',
      false,
      [
        [3, 2000],
        [40, 2000],
        [1000, 50_000],
      ],
    ],
    [
      'every max(0.3 s, peers/20 s) while there is soon more to see',
      true,
      [
        [3, 300],
        [8, 400],
        [1000, 50_000],
      ],
    ],
  ] as const)('is looked for %s, jittered', (_, eager, cases) => {
    const intervals = (count: number) =>
      Array.from({ length: 50 }, () =>
        nodeNamed('one', { nodes: () => names.slice(0, count) }).lock.pollIntervalMs(eager),
      );
    for (const [count, baseMs] of cases) {
      expect(Math.min(...intervals(count))).toBeGreaterThanOrEqual(baseMs);
      expect(Math.max(...intervals(count))).toBeLessThanOrEqual(baseMs * 1.5);
      expect(new Set(intervals(count)).size).toBeGreaterThan(40);
    }
  });
});

describe('failures', () => {
  it('of the registry are the cluster’s: nobody tries before their time, then the next in rank', async () => {
    const names = ['a', 'b', 'c'];
    const agents = names.map((node) => nodeNamed(node, { nodes: () => names }));
    const holders: string[] = [];
    const attempt = () =>
      clock.run(
        Promise.all(
          agents.map(async ({ lock }, index) => {
            const lease = await lock.acquire(KEY, signal);
            if (!lease) return;
            holders.push(names[index]!);
            await lease.fail('unauthorized');
          }),
        ),
      );
    await attempt();
    await clock.advance(2000);
    for (const agent of agents) {
      const { failure, holder } = await view(agent);
      expect(failure?.reason).toBe('unauthorized');
      expect(failure?.retryAfterMs).toBeGreaterThan(4.9 * MINUTE_MS);
      expect(holder).toBeUndefined();
    }
    for (let minute = 0; minute < 4; minute += 1) {
      await clock.advance(MINUTE_MS);
      await attempt();
    }
    expect(holders).toHaveLength(1);
    await clock.advance(1.6 * MINUTE_MS);
    // What has been waited out is nobody's reason any more not to try.
    expect((await view(agents[0]!)).failure).toBeUndefined();
    await attempt();
    await clock.advance(6 * MINUTE_MS);
    await attempt();
    expect(new Set(holders)).toEqual(new Set(names));
    expect((await store.recordOf())?.failure).toMatchObject({ code: 'unauthorized', attempt: 3 });
  });

  it('let everyone else go first who wants the image, and then the one that met them again', async () => {
    const names = ['a', 'b'];
    const [unlucky, other] = names.map((node) => nodeNamed(node, { nodes: () => names })) as [
      LockNode,
      LockNode,
    ];
    const first = await clock.run(unlucky.lock.acquire(KEY, signal));
    await clock.run(first!.fail('timeout'));
    // The other one sees it a poll later, and that it is over a poll after that.
    await clock.advance(3_000);
    await view(other);
    await clock.advance(2_500);
    const again = unlucky.lock.acquire(KEY, signal);
    await clock.advance(6_000);
    const lease = await clock.run(other.lock.acquire(KEY, signal));
    expect(lease).toBeDefined();
    expect(await clock.run(again)).toBeUndefined();
    await clock.run(lease!.fail('timeout'));

    await clock.advance(2_000);
    expect((await view(unlucky)).failure?.reason).toBe('timeout');
    await clock.advance(60_000);
    expect(await clock.run(unlucky.lock.acquire(KEY, signal))).toBeDefined();
  });

  it('of the registry do not bind a node that needs none, nor does it wait for its turn', async () => {
    const nodes = () => ['archivist', ...Array.from({ length: 30 }, (_, index) => `node-${index}`)];
    const [one, archivist] = [nodeNamed('one'), nodeNamed('archivist', { nodes })];
    const lease = await acquired(one);
    const forArchive = () => clock.run(archivist.lock.acquireForArchive(KEY, signal));
    expect(await forArchive()).toBeUndefined();

    await lease.fail('not_found');
    await clock.advance(2000);
    expect(await acquire(one)).toBeUndefined();
    const triedAtMs = clock.monotonicMs();
    const archived = await forArchive();
    expect(clock.monotonicMs() - triedAtMs).toBeLessThan(100);

    await archived?.publish(DIGEST, 'archive');
    await archived?.release();
    await clock.advance(2000);
    expect(await view(one)).toMatchObject({ digest: DIGEST, origin: 'archive' });
    expect(await view(one)).not.toHaveProperty('failure');
  });

  it('of this node alone only give the lease back', async () => {
    const lease = await acquired(nodeNamed('one'));
    await lease.fail('insufficient_disk');
    expect(await store.recordOf()).toBeUndefined();
    expect(await acquire(nodeNamed('other'))).toBeDefined();
  });

  describe.each([
    ['of a tag that is resolved anew', true],
    ['of a digest that is known', false],
  ])('%s', (_what, isResolved) => {
    const failed = {
      v: 1 as const,
      ...KEY,
      failure: { code: 'rate_limited', attempt: 4, retryAfterMs: MINUTE_MS },
    };
    async function retried(): Promise<Lease> {
      await store.put({ ...failed, digest: DIGEST, resolvedAt: clock.wallMs() / 1000 });
      const node = nodeNamed('one');
      expect(await acquire(node)).toBeUndefined();
      await clock.advance(MINUTE_MS);
      const lease = await acquired(node);
      if (isResolved) await lease.publish(DIGEST, 'registry');
      return lease;
    }

    it('are over with the next success', async () => {
      await (await retried()).succeed();
      expect(await store.recordOf()).toMatchObject({ digest: DIGEST });
      expect(await store.recordOf()).not.toHaveProperty('failure');
    });

    it('count on when the next attempt ends without one, and are not waited out twice', async () => {
      await (await retried()).release();
      expect((await store.recordOf())?.failure?.attempt).toBe(4);
      expect(await view(nodeNamed('other'))).not.toHaveProperty('failure');
      expect(await acquire(nodeNamed('other'))).toBeDefined();
    });

    it('count on when the next attempt fails', async () => {
      await (await retried()).fail('registry_unreachable');
      expect((await store.recordOf())?.failure).toMatchObject({ code: 'registry_unreachable', attempt: 5 });
      expect((await view(nodeNamed('other'))).failure?.retryAfterMs).toBeGreaterThan(0);
    });
  });

  it('of an image that its list names by digest leave no record behind after a success', async () => {
    await store.put({ v: 1, ...KEY, failure: { code: 'not_found', attempt: 4, retryAfterMs: 0 } });
    await (await acquired(nodeNamed('one'))).succeed();
    expect(await store.recordOf()).toBeUndefined();
  });

  it('20 agents and a wrong tag: at most 3 attempts in 10 minutes', async () => {
    const names = Array.from({ length: 20 }, (_, index) => `n${index}`);
    let attempts = 0;
    const live = async ({ lock }: LockNode) => {
      for (;;) {
        await lock.lookup(KEY, signal);
        const lease = await lock.acquire(KEY, signal);
        if (lease) {
          attempts += 1;
          await clock.sleep(200);
          await lease.fail('not_found');
        }
        await clock.sleep(lock.pollIntervalMs());
      }
    };
    for (const node of names) void live(nodeNamed(node, { nodes: () => names }));
    await clock.advance(10 * MINUTE_MS);
    expect(attempts).toBeGreaterThanOrEqual(2);
    expect(attempts).toBeLessThanOrEqual(3);
  });
});

describe('records', () => {
  const macKey = Buffer.alloc(32, 1);
  const key = keysOf(macKey);
  const record: LockRecord = { v: 1, ...KEY, digest: DIGEST, origin: 'registry', resolvedAt: 0 };

  it('with a wrong MAC are reported once, treated as absent, and written over by a holder', async () => {
    const warn = jest.spyOn(Logger.prototype, 'warn');
    await store.put(
      { ...record, holder: { node: 'x', instance: 'x', address: 'x', term: 1, renewals: 1 } },
      Buffer.alloc(32, 2),
    );
    const node = nodeNamed('one', { key, probe: { probe: () => Promise.resolve('unlisted') } });
    for (let round = 0; round < 3; round += 1) {
      expect(await view(node)).toEqual({ stale: false, unknownVersion: false, readOnly: false });
      await clock.advance(2000);
    }
    expect(warn).toHaveBeenCalledTimes(1);
    warn.mockRestore();
    await (await acquired(node)).publish(DIGEST, 'registry');
    await clock.advance(2000);
    expect((await view(nodeNamed('other', { key }))).digest).toBe(DIGEST);
  });

  it.each([
    ['', { v: 2, whatever: true }],
    [', longer than ours too,', { v: 2, whatever: 'w'.repeat(600) }],
  ])('of an unknown version%s are held, and never rewritten', async (_what, newer) => {
    const text = JSON.stringify(newer);
    await store.records.compareAndSwap(RECORD_KEY, undefined, text, signal);
    const node = nodeNamed('one', { key });
    expect(await view(node)).toEqual({ stale: false, unknownVersion: true, readOnly: false });
    await clock.advance(TIMEOUT_MS * 2);
    expect(await acquire(node)).toBeUndefined();
    expect((await store.records.read('latest', signal)).get(RECORD_KEY)).toBe(text);
  });

  it('of a newer agent keep their failure and origin, whose words are only its own', async () => {
    const failure = { code: 'registry_asleep', attempt: 2, retryAfterMs: MINUTE_MS };
    await store.put({ ...record, origin: 'bundle', failure }, macKey);
    const node = nodeNamed('one', { key });
    expect(await view(node)).toMatchObject({
      digest: DIGEST,
      failure: { reason: 'registry_error', retryAfterMs: MINUTE_MS },
    });
    await clock.advance(MINUTE_MS);
    await (await acquired(node)).release();
    expect(await store.recordOf()).toMatchObject({ origin: 'bundle', failure: { code: 'registry_asleep' } });
  });

  it('of a newer agent that have no room for a holder here stay as they are', async () => {
    const text = JSON.stringify({ ...record, hint: 'h'.repeat(600) });
    await store.records.compareAndSwap(RECORD_KEY, undefined, text, signal);
    const node = nodeNamed('one');
    expect((await view(node)).digest).toBe(DIGEST);
    await expect(acquire(node)).rejects.toMatchObject({ reason: 'lock_full' });
    expect((await store.records.read('latest', signal)).get(RECORD_KEY)).toBe(text);
  });

  it('need the key: without it nothing is believed and nothing written', async () => {
    const node = nodeNamed('one', {
      key: { ...key, current: () => Promise.reject(new Error('no Secret')) },
    });
    await expect(acquire(node)).rejects.toMatchObject({ reason: 'lock_unavailable' });
    expect(store.swaps).toBe(0);
  });

  it('older than TAG_TTL are stale, and so are those from far in the future; with TAG_TTL=0 none is', async () => {
    const nowSeconds = clock.wallMs() / 1000;
    const cases: [number, number, boolean][] = [
      [nowSeconds - 3600, MINUTE_MS, true],
      [nowSeconds - 30, MINUTE_MS, false],
      [nowSeconds + 3600, MINUTE_MS, true],
      [nowSeconds - 1e6, 0, false],
    ];
    for (const [resolvedAt, tagTtlMs, stale] of cases) {
      await store.put({ ...record, resolvedAt });
      expect((await view(nodeNamed('one', { tagTtlMs }))).stale).toBe(stale);
    }
  });

  it('are known as a swap has left them, whatever a read that was under way says', async () => {
    const slow: LockStore = {
      read: async (consistency, abort) => {
        const records = await store.read(consistency, abort);
        await clock.sleep(500);
        return records;
      },
      compareAndSwap: (...args) => store.compareAndSwap(...args),
    };
    const node = nodeNamed('one', { store: slow });
    const lease = await acquired(node);
    await clock.advance(2000);
    const looking = node.lock.lookup({ ...KEY, image: 'docker.io/library/other:1' }, signal);
    await clock.advance(100);
    await lease.publish(DIGEST, 'registry');
    await lease.release();
    await clock.run(looking);
    store.reads = [];
    expect(await view(node)).toMatchObject({ digest: DIGEST });
    expect(store.reads).toEqual([]);
  });

  it('are known to their holder as it has written them, however old what a cache of the backend says', async () => {
    const cached = new Map<string, string>();
    const lagging: LockStore = {
      read: (consistency, abort) =>
        consistency === 'any' ? Promise.resolve(cached) : store.read(consistency, abort),
      compareAndSwap: (...args) => store.compareAndSwap(...args),
    };
    const node = nodeNamed('one', { store: lagging });
    const lease = await acquired(node);
    await lease.publish(DIGEST, 'registry');
    await clock.advance(TIMEOUT_MS);
    expect(await view(node)).toMatchObject({ digest: DIGEST, holder: { mine: true }, readOnly: false });
    await lease.release();
    expect(await view(node)).not.toHaveProperty('digest');
  });

  it('are read once for all images of a node, and not at all when nothing is asked', async () => {
    const { lock } = nodeNamed('one');
    await clock.advance(10 * MINUTE_MS);
    await clock.run(lock.prune([KEY], signal));
    expect(store.reads).toEqual([]);
    const keys = Array.from({ length: 30 }, (_, index) => ({ ...KEY, image: `app-${index}` }));
    await clock.run(Promise.all(keys.map((key) => lock.lookup(key, signal))));
    expect(store.reads).toEqual(['any']);
    await clock.advance(lock.pollIntervalMs());
    await clock.run(Promise.all(keys.map((key) => lock.lookup(key, signal))));
    expect(store.reads).toEqual(['any', 'any']);
  });
});

describe('a change of the key', () => {
  const [before, after] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
  const whoAnswers = (answer: ProbeResult) => ({ probe: { probe: () => Promise.resolve(answer) } });
  const digestFor = async (node: LockNode) => (await view(node)).digest;

  it('makes no second holder when the first one hears of it last, and loses no record', async () => {
    const [firstKey, otherKey] = [keysOf(before), keysOf(after, before)];
    const [first, other] = [nodeNamed('first', { key: firstKey }), nodeNamed('other', { key: otherKey })];
    const lease = await acquired(first);
    await lease.publish(DIGEST, 'registry');
    expect(await view(other)).toMatchObject({ digest: DIGEST, holder: { node: 'first' } });
    expect(await acquire(other)).toBeUndefined();

    firstKey.keys = [after, before];
    await clock.advance(TIMEOUT_MS / 3 + 1);
    otherKey.keys = [after];
    await clock.advance(2000);
    expect(await view(other)).toMatchObject({ digest: DIGEST, holder: { node: 'first' } });
    expect(lease.mayReadRegistry()).toBe(true);
  });

  it.each<[string, ProbeResult, Buffer, Buffer]>([
    ['is silent to who has the old key only', 'silent', after, before],
    ['proves itself to who has the old key only', { node: 'first', instance: 'first-1' }, after, before],
    ['is silent to who has the new key only', 'silent', before, after],
  ])('makes no second holder when the first one %s', async (_what, answer, firstKey, otherKey) => {
    const key = keysOf(otherKey);
    const other = nodeNamed('other', { key, ...whoAnswers(answer) });
    const lease = await acquired(nodeNamed('first', { key: keysOf(firstKey) }));
    await lease.publish(DIGEST, 'registry');
    for (let waitedMs = 0; waitedMs < 2 * TIMEOUT_MS; waitedMs += TIMEOUT_MS / 10) {
      // Of what it says nothing is believed before the key is there.
      expect(await digestFor(other)).toBeUndefined();
      expect(await acquire(other)).toBeUndefined();
      await clock.advance(TIMEOUT_MS / 10);
    }
    expect(key.suspicions).toBeGreaterThan(0);
    expect(lease.mayReadRegistry()).toBe(true);
    key.keys = [firstKey, otherKey];
    expect(await digestFor(other)).toBe(DIGEST);
  });

  it('leaves the lock of a holder that is gone to the others, as ever', async () => {
    await acquired(nodeNamed('first', { key: keysOf(before) }));
    const other = nodeNamed('other', { key: keysOf(after), ...whoAnswers('refused') });
    await view(other);
    await clock.advance(6000);
    expect(await acquire(other)).toBeDefined();
  });

  it('is waited for before a record that nobody holds is written over', async () => {
    const lease = await acquired(nodeNamed('first', { key: keysOf(after) }));
    await lease.publish(DIGEST, 'registry');
    await lease.release();
    const key = keysOf(before);
    const other = nodeNamed('other', { key });
    expect(await acquire(other)).toBeUndefined();
    key.keys = [after, before];
    await clock.advance(2000);
    expect(await digestFor(other)).toBe(DIGEST);
    expect(await acquire(other)).toBeDefined();
  });
});

describe('when the backend cannot be asked', () => {
  it('the last records serve for reading, across a restart too, and nobody gets a lease', async () => {
    const cache = new MemoryRecordCache();
    const lease = await acquired(nodeNamed('one'));
    await lease.publish(DIGEST, 'registry');
    await lease.release();
    const node = nodeNamed('other', { cache });
    expect((await view(node)).digest).toBe(DIGEST);
    store.state = 'down';
    await clock.advance(3000);
    expect(await view(node)).toMatchObject({ digest: DIGEST, readOnly: true });
    await expect(acquire(node)).rejects.toMatchObject({ reason: 'lock_unavailable' });
    const restarted = nodeNamed('other', { cache, instance: 'other-2' });
    expect(await view(restarted)).toMatchObject({ digest: DIGEST, readOnly: true });
    await expect(acquire(restarted)).rejects.toMatchObject({ reason: 'lock_unavailable' });

    store.state = 'up';
    await clock.advance(3000);
    expect(await view(restarted)).toMatchObject({ digest: DIGEST, readOnly: false });
    expect(await acquire(restarted)).toBeDefined();
  });

  it('the last records serve after a restart where there is a key, also one that comes later', async () => {
    const key = keysOf(Buffer.alloc(32, 1));
    const cache = new MemoryRecordCache();
    const lease = await acquired(nodeNamed('one', { key }));
    await lease.publish(DIGEST, 'registry');
    await view(nodeNamed('other', { key, cache }));
    store.state = 'down';
    expect(await view(nodeNamed('other', { key, cache }))).toMatchObject({ digest: DIGEST, readOnly: true });

    const current = jest.spyOn(key, 'current').mockRejectedValue(new Error('no Secret'));
    const late = nodeNamed('other', { key, cache });
    for (let attempt = 0; attempt < 3; attempt += 1)
      expect(await view(late)).toEqual({ stale: false, unknownVersion: false, readOnly: true });
    current.mockRestore();
    await clock.advance(2000);
    expect(await view(late)).toMatchObject({ digest: DIGEST, readOnly: true });
  });

  it('the last records are those of this node’s own swaps, too', async () => {
    const cache = new MemoryRecordCache();
    const lease = await acquired(nodeNamed('one', { cache }));
    cache.isWritable = false;
    await lease.publish(digestOf(Buffer.from('older')), 'registry');
    cache.isWritable = true;
    await lease.publish(DIGEST, 'registry');
    store.state = 'down';
    expect(await view(nodeNamed('one', { cache, instance: 'one-2' }))).toMatchObject({ digest: DIGEST });
  });

  it('it is not asked again for every image', async () => {
    store.state = 'down';
    const { lock } = nodeNamed('one');
    for (let index = 0; index < 50; index += 1)
      await clock.run(lock.lookup({ ...KEY, image: `app-${index}` }, signal));
    expect(store.reads).toHaveLength(1);
  });
});

describe('when the backend can be read and not written', () => {
  const refusal = { reason: 'lock_unavailable', message: expect.stringContaining('403 Forbidden') as string };

  it('nobody gets a lease, each learns what the backend says, and the log is told once', async () => {
    const warn = jest.spyOn(Logger.prototype, 'warn');
    const log = jest.spyOn(Logger.prototype, 'log');
    const node = nodeNamed('one');
    store.state = 'refusing';
    for (let attempt = 0; attempt < 3; attempt += 1)
      await expect(acquire(node)).rejects.toMatchObject(refusal);
    await store.put({ v: 1, ...KEY, digest: DIGEST });
    await clock.advance(2000);
    await expect(acquire(node)).rejects.toMatchObject(refusal);
    expect(warn).toHaveBeenCalledTimes(1);
    expect(await view(node)).toMatchObject({ digest: DIGEST, readOnly: false });

    store.state = 'up';
    expect(await acquire(node)).toBeDefined();
    expect(log).toHaveBeenCalledTimes(1);
    jest.restoreAllMocks();
  });

  it('a race that was lost meanwhile is still no failure', async () => {
    const node = nodeNamed('one');
    const refuse = async (): Promise<never> => {
      await store.put({ v: 1, ...KEY, digest: DIGEST });
      throw new PreheatFailure('lock_unavailable', 'no answer');
    };
    jest.spyOn(store, 'compareAndSwap').mockImplementationOnce(refuse);
    expect(await acquire(node)).toBeUndefined();
  });

  it('a lease is good for its time, and what could not be given back frees itself', async () => {
    const lease = await acquired(nodeNamed('one'));
    store.state = 'refusing';
    const published = expect(lease.publish(DIGEST, 'registry')).rejects.toMatchObject({
      reason: 'lock_unavailable',
    });
    await clock.advance((TIMEOUT_MS * 2) / 3 - 1);
    expect(lease.mayReadRegistry()).toBe(true);
    await clock.advance(1);
    expect(lease.mayReadRegistry()).toBe(false);
    await published;
    await clock.run(lease.release());
  });
});

describe('removal', () => {
  const keyOf = (index: number) => ({ image: `registry.example/app-${index}:1`, platform: 'linux/amd64' });
  async function fill(count: number): Promise<void> {
    for (let index = 0; index < count; index += 1) {
      const holder = { node: 'x', instance: 'x', address: 'x:1', term: 1, renewals: 1 };
      const record: LockRecord = {
        v: 1,
        ...keyOf(index),
        digest: DIGEST,
        origin: 'registry',
        resolvedAt: 1000 + index,
        pad: 'p'.repeat(200),
        ...(index === 1 && { holder }),
      };
      const recordKey = recordKeyOf(keyOf(index));
      const text = encodeRecord(recordKey, record, undefined);
      await store.records.compareAndSwap(recordKey, undefined, text, signal);
    }
  }
  const kept = async (index: number) =>
    (await store.records.read('latest', signal)).has(recordKeyOf(keyOf(index)));

  it('takes the oldest that nobody lists or holds, only above 512 KiB', async () => {
    const node = nodeNamed('one');
    await fill(1150);
    await view(node);
    await clock.run(node.lock.prune([], signal));
    expect(store.swaps).toBe(0);

    await fill(1260);
    await clock.advance(2000);
    await view(node);
    await clock.run(node.lock.prune([keyOf(0), keyOf(3)], signal));
    expect(store.swaps).toBeGreaterThan(0);
    expect(store.swaps).toBeLessThanOrEqual(20);
    expect(await Promise.all([0, 1, 2, 3, 4, 1259].map(kept))).toEqual([
      true,
      true,
      false,
      true,
      false,
      true,
    ]);
  });

  it('takes first what nobody with the key has written, unless a holder may have', async () => {
    const key = keysOf(Buffer.alloc(32, 1));
    const holder = { node: 'x', instance: 'x', address: 'x:1', term: 1, renewals: 1 };
    const sealed = (index: number, rest: Partial<LockRecord>, keyByte: number) => {
      const record: LockRecord = { v: 1, ...keyOf(index), digest: DIGEST, ...rest };
      return encodeRecord(recordKeyOf(keyOf(index)), record, Buffer.alloc(32, keyByte));
    };
    const texts = Array.from({ length: 1260 }, (_, index) =>
      sealed(index, { resolvedAt: 1000 + index, pad: 'p'.repeat(200) }, 1),
    );
    texts[700] = sealed(700, { resolvedAt: 9000 }, 2);
    texts[701] = sealed(701, { resolvedAt: 9001, holder }, 2);
    texts[702] = 'not even JSON';
    for (const [index, text] of texts.entries())
      await store.records.compareAndSwap(recordKeyOf(keyOf(index)), undefined, text, signal);
    const node = nodeNamed('one', { key });
    await view(node);
    await clock.run(node.lock.prune([keyOf(0)], signal));
    expect(await Promise.all([0, 700, 701, 702].map(kept))).toEqual([true, false, true, false]);
    expect(store.swaps).toBeLessThanOrEqual(20);
  });

  it('does not come before a new image fails with lock_full above 900 KiB, while known ones go on', async () => {
    await fill(2200);
    const { lock } = nodeNamed('one');
    await expect(clock.run(lock.acquire(KEY, signal))).rejects.toMatchObject({ reason: 'lock_full' });
    expect(await clock.run(lock.acquire(keyOf(5), signal))).toBeDefined();
  });
});
