import { randomBytes } from 'node:crypto';

import type { LockStore } from '../../src/lock/lock-store.js';

/** A store under test: two clients of the same records, as two processes would have. */
export interface LockStoreSubject {
  readonly clients: readonly [LockStore, LockStore];
  dispose(): Promise<void>;
}

/** What `LockService` relies on, for every adapter. */
export function describeLockStore(open: () => Promise<LockStoreSubject>): void {
  let subject: LockStoreSubject;
  let one: LockStore;
  let other: LockStore;
  const { signal } = new AbortController();
  const newKey = () => randomBytes(16).toString('hex');

  beforeAll(async () => {
    subject = await open();
    [one, other] = subject.clients;
  });
  afterAll(() => subject.dispose());

  it('creates, replaces and removes a record, and both clients see it', async () => {
    const key = newKey();
    expect((await one.read('latest', signal)).has(key)).toBe(false);
    expect(await one.compareAndSwap(key, undefined, 'a', signal)).toBe(true);
    expect((await other.read('latest', signal)).get(key)).toBe('a');
    expect(await other.compareAndSwap(key, 'a', 'b', signal)).toBe(true);
    expect((await one.read('latest', signal)).get(key)).toBe('b');
    expect(await one.compareAndSwap(key, 'b', undefined, signal)).toBe(true);
    expect((await other.read('latest', signal)).has(key)).toBe(false);
  });

  it('refuses a swap whose expectation does not hold, and changes nothing', async () => {
    const key = newKey();
    expect(await one.compareAndSwap(key, 'a', 'b', signal)).toBe(false);
    expect(await one.compareAndSwap(key, 'a', undefined, signal)).toBe(false);
    expect(await one.compareAndSwap(key, undefined, 'a', signal)).toBe(true);
    expect(await other.compareAndSwap(key, undefined, 'b', signal)).toBe(false);
    expect(await other.compareAndSwap(key, 'b', 'c', signal)).toBe(false);
    expect(await other.compareAndSwap(key, 'b', undefined, signal)).toBe(false);
    expect((await one.read('latest', signal)).get(key)).toBe('a');
  });

  it('tells whether a record is absent when nothing is to be swapped', async () => {
    const key = newKey();
    expect(await one.compareAndSwap(key, undefined, undefined, signal)).toBe(true);
    await one.compareAndSwap(key, undefined, 'a', signal);
    expect(await other.compareAndSwap(key, undefined, undefined, signal)).toBe(false);
  });

  it('keeps any text of 512 bytes as it is', async () => {
    const key = newKey();
    const text = JSON.stringify({ image: 'registry:5000/a/b~1c', quote: '"\\/\u2028<&> é' }).padEnd(500, 'x');
    expect(await one.compareAndSwap(key, undefined, text, signal)).toBe(true);
    expect((await other.read('latest', signal)).get(key)).toBe(text);
    expect(await other.compareAndSwap(key, text, 'next', signal)).toBe(true);
  });

  it('lets exactly one of many win a race', async () => {
    const key = newKey();
    for (let round = 0; round < 5; round += 1) {
      const expected = round === 0 ? undefined : (await one.read('latest', signal)).get(key);
      const results = await Promise.all(
        Array.from({ length: 10 }, (_, index) =>
          (index % 2 === 0 ? one : other).compareAndSwap(key, expected, `${round}-${index}`, signal),
        ),
      );
      expect(results.filter(Boolean)).toHaveLength(1);
      expect((await other.read('latest', signal)).get(key)).toBe(`${round}-${results.indexOf(true)}`);
    }
  });

  it('never lets writers of different records stand in each other’s way', async () => {
    const keys = Array.from({ length: 20 }, newKey);
    const results = await Promise.all(
      keys.map(async (key, index) => {
        const client = index % 2 === 0 ? one : other;
        return [
          await client.compareAndSwap(key, undefined, 'a', signal),
          await client.compareAndSwap(key, 'a', 'b', signal),
          await client.compareAndSwap(key, 'b', 'c', signal),
        ];
      }),
    );
    expect(results.flat().every(Boolean)).toBe(true);
    const records = await one.read('latest', signal);
    expect(keys.map((key) => records.get(key))).toEqual(keys.map(() => 'c'));
  });

  it('shows a finished swap to a read from a cache too, after a while', async () => {
    const key = newKey();
    await one.compareAndSwap(key, undefined, 'a', signal);
    const deadlineMs = performance.now() + 5000;
    while ((await other.read('any', signal)).get(key) !== 'a')
      if (performance.now() > deadlineMs) throw new Error('not seen within 5 s');
  });

  it('rejects with the reason of an aborted signal', async () => {
    const reason = new Error('enough');
    const aborted = AbortSignal.abort(reason);
    await expect(one.read('any', aborted)).rejects.toBe(reason);
    await expect(one.compareAndSwap(newKey(), undefined, 'a', aborted)).rejects.toBe(reason);
  });
}
