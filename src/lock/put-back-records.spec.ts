import { Logger } from '@nestjs/common';

import { LockNode, type LockNodeOptions, MemoryRecordCache } from '../../test/support/lock-node.js';
import { VirtualClock } from '../../test/support/virtual-clock.js';
import { type Digest, digestOf } from '../domain/digest.js';
import { recordKeyOf } from './image-key.js';
import type { LockStore } from './lock-store.js';
import { MemoryLockStore } from './memory/memory-lock-store.js';
import { encodeRecord, type LockRecord } from './record.js';
import type { RecordKey } from './record-key.js';

const TIMEOUT_MS = 300_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const KEY = { image: 'docker.io/library/app:1', platform: 'linux/amd64' };
const RECORD_KEY = recordKeyOf(KEY);
const OLD = digestOf(Buffer.from('what the tag meant'));
const NEW = digestOf(Buffer.from('what it means'));
const [PEER_KEY, OTHER_KEY] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
const { signal } = new AbortController();

let clock: VirtualClock;
let store: MemoryLockStore;
let warnings: jest.SpyInstance;

beforeEach(() => {
  Logger.overrideLogger(false);
  warnings = jest.spyOn(Logger.prototype, 'warn');
  clock = new VirtualClock();
  store = new MemoryLockStore();
});
afterEach(() => {
  warnings.mockRestore();
});

function keysOf(...keys: Buffer[]): RecordKey & { keys: Buffer[] } {
  return {
    keys,
    current() {
      return Promise.resolve(this.keys);
    },
    suspect: () => undefined,
  };
}
function nodeNamed(node: string, options: Partial<LockNodeOptions> = {}): LockNode {
  return new LockNode({ store, clock, node, timeoutMs: TIMEOUT_MS, key: keysOf(PEER_KEY), ...options });
}
/** A clock that differs from everybody's, and ticks with it. */
function skewed(byMs: number): VirtualClock {
  return Object.create(clock, { wallMs: { value: () => clock.wallMs() + byMs } }) as VirtualClock;
}
const textNow = async (): Promise<string | undefined> => (await store.read('latest', signal)).get(RECORD_KEY);
async function put(text: string | undefined): Promise<void> {
  await store.compareAndSwap(RECORD_KEY, await textNow(), text, signal);
}
const sealed = (record: Partial<LockRecord>, key = PEER_KEY): string =>
  encodeRecord(RECORD_KEY, { v: 1, ...KEY, origin: 'registry', ...record }, key);
/** What the tag means, as `node` sees it when it looks anew. */
async function digestFor({ lock }: LockNode): Promise<Digest | undefined> {
  await clock.advance(2000);
  return (await clock.run(lock.lookup(KEY, signal))).digest;
}
/** Has `node` find out that the tag means `digest`. @returns the text that it leaves */
async function resolved(node: LockNode, digest: Digest): Promise<string> {
  await clock.advance(2000);
  const lease = await clock.run(node.lock.acquire(KEY, signal));
  if (!lease) throw new Error('no lease');
  await clock.run(lease.publish(digest, 'registry'));
  await clock.run(lease.succeed());
  return (await textNow()) ?? '';
}

describe('an older record that somebody without the key has put back', () => {
  it('is not believed by who has seen a later one, who says so once and resolves the tag anew', async () => {
    const [one, other] = [nodeNamed('one'), nodeNamed('other')];
    const before = await resolved(one, OLD);
    const after = await resolved(one, NEW);
    expect(await digestFor(other)).toBe(NEW);
    await put(before);
    for (let look = 0; look < 3; look += 1) {
      expect(await digestFor(one)).toBeUndefined();
      expect(await digestFor(other)).toBeUndefined();
    }
    expect(warnings.mock.calls).toHaveLength(2);
    expect(warnings).toHaveBeenCalledWith(
      expect.objectContaining({ recordKey: RECORD_KEY, why: expect.stringContaining('older') as string }),
      'record not trusted, treated as absent',
    );
    await put(after);
    expect(await digestFor(other)).toBe(NEW);
    await put(before);
    await resolved(other, NEW);
    expect(await digestFor(one)).toBe(NEW);
  });

  it('is not believed after a restart either, nor when the right one was removed in between', async () => {
    const cache = new MemoryRecordCache();
    const before = await resolved(nodeNamed('one'), OLD);
    await resolved(nodeNamed('one'), NEW);
    expect(await digestFor(nodeNamed('other', { cache }))).toBe(NEW);
    await put(before);
    for (let run = 0; run < 3; run += 1)
      expect(await digestFor(nodeNamed('other', { cache }))).toBeUndefined();
    await put(undefined);
    for (let run = 0; run < 3; run += 1)
      expect(await digestFor(nodeNamed('other', { cache }))).toBeUndefined();
    await put(before);
    expect(await digestFor(nodeNamed('other', { cache }))).toBeUndefined();
  });

  it('ends the lease under which it appears', async () => {
    const node = nodeNamed('one');
    await resolved(node, OLD);
    await clock.advance(2000);
    const lease = await clock.run(node.lock.acquire(KEY, signal));
    const taken = await textNow();
    await clock.run(lease!.publish(NEW, 'registry'));
    await put(taken);
    await clock.advance(TIMEOUT_MS / 3 + 1);
    expect(lease!.mayReadRegistry()).toBe(false);
    expect(await textNow()).toBe(taken);
  });

  it('is not seen in what a cache of the backend still says', async () => {
    let cached: ReadonlyMap<string, string> | undefined;
    const lagging: LockStore = {
      read: async (consistency, abort) =>
        (consistency === 'any' ? cached : undefined) ?? store.read(consistency, abort),
      compareAndSwap: (...args) => store.compareAndSwap(...args),
    };
    const node = nodeNamed('one', { store: lagging });
    await resolved(node, OLD);
    cached = await store.read('latest', signal);
    await resolved(nodeNamed('other'), NEW);
    const current = cached;
    cached = undefined;
    expect(await digestFor(node)).toBe(NEW);
    cached = current;
    expect(await digestFor(node)).toBe(NEW);
    expect(warnings).not.toHaveBeenCalled();
  });

  it('says nothing wrong when it names the same digest', async () => {
    const node = nodeNamed('one');
    const before = await resolved(node, NEW);
    await clock.advance(HOUR_MS);
    await resolved(node, NEW);
    await put(before);
    expect(await digestFor(node)).toBe(NEW);
  });

  it('is believed where there is no key: anybody could write any other', async () => {
    const node = nodeNamed('one', {
      key: { current: () => Promise.resolve(undefined), suspect: () => undefined },
    });
    const before = await resolved(node, OLD);
    await resolved(node, NEW);
    await put(before);
    expect(await digestFor(node)).toBe(OLD);
  });
});

describe('a record is taken for a later one', () => {
  it('whatever the clock of its writer says, when that has seen the one before', async () => {
    const behind = nodeNamed('behind', { clock: skewed(-20 * HOUR_MS) });
    const witness = nodeNamed('witness');
    await resolved(nodeNamed('ahead', { clock: skewed(HOUR_MS) }), OLD);
    expect(await digestFor(witness)).toBe(OLD);
    await resolved(behind, NEW);
    expect(await digestFor(witness)).toBe(NEW);
    // Removed by an operator, perhaps to have the tag resolved anew.
    await put(undefined);
    await resolved(behind, OLD);
    expect(await digestFor(witness)).toBe(OLD);
    expect(warnings).not.toHaveBeenCalled();
  });

  it('when a node that knows nothing makes it anew; if its clock is behind, the next holder mends it', async () => {
    const witness = nodeNamed('witness');
    await resolved(witness, OLD);
    await put(undefined);
    await resolved(nodeNamed('new'), NEW);
    expect(await digestFor(witness)).toBe(NEW);
    await put(undefined);
    await resolved(nodeNamed('behind', { clock: skewed(-HOUR_MS) }), OLD);
    expect(await digestFor(witness)).toBeUndefined();
    await resolved(witness, OLD);
    expect(await digestFor(witness)).toBe(OLD);
    expect(await digestFor(nodeNamed('newer'))).toBe(OLD);
  });

  it('than one from far in the future, which a wrong clock has written', async () => {
    const witness = nodeNamed('witness');
    await resolved(nodeNamed('lost', { clock: skewed(365 * DAY_MS) }), OLD);
    expect(await clock.run(witness.lock.lookup(KEY, signal))).toMatchObject({ digest: OLD, stale: true });
    await resolved(nodeNamed('right'), NEW);
    await clock.advance(2000);
    expect(await clock.run(witness.lock.lookup(KEY, signal))).toMatchObject({ digest: NEW, stale: false });
  });

  it('when all that was seen before was written with a key that is not used any more', async () => {
    const key = keysOf(OTHER_KEY);
    const node = nodeNamed('one', { key, tagTtlMs: 0 });
    await put(sealed({ digest: OLD, resolvedAt: clock.wallMs() / 1000 + 1e8 }, OTHER_KEY));
    expect(await digestFor(node)).toBe(OLD);
    await put(sealed({ digest: NEW, resolvedAt: clock.wallMs() / 1000 }));
    key.keys = [PEER_KEY, OTHER_KEY];
    expect(await digestFor(node)).toBeUndefined();
    key.keys = [PEER_KEY];
    expect(await digestFor(node)).toBe(NEW);
  });
});

it('what was seen of records that are gone is forgotten after a thousand of them', async () => {
  const cache = new MemoryRecordCache();
  const node = nodeNamed('one', { cache });
  for (let index = 0; index < 1100; index += 100) {
    const keys = Array.from({ length: 100 }, (_, at) => recordKeyOf({ ...KEY, image: `app-${index + at}` }));
    const record: LockRecord = { v: 1, ...KEY, digest: NEW, resolvedAt: 1000 };
    for (const key of keys)
      await store.compareAndSwap(key, undefined, encodeRecord(key, record, PEER_KEY), signal);
    await digestFor(node);
    for (const key of keys)
      await store.compareAndSwap(key, encodeRecord(key, record, PEER_KEY), undefined, signal);
  }
  await digestFor(node);
  expect((await cache.load()).size).toBe(1000);
});
