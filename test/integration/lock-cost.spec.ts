import { Logger } from '@nestjs/common';

import { digestOf } from '../../src/domain/digest.js';
import { type ImageKey, recordKeyOf } from '../../src/lock/image-key.js';
import type { LockStore } from '../../src/lock/lock-store.js';
import { MemoryLockStore } from '../../src/lock/memory/memory-lock-store.js';
import { encodeRecord } from '../../src/lock/record.js';
import { LockNode } from '../support/lock-node.js';
import { VirtualClock } from '../support/virtual-clock.js';

const NODES = 1000;
const NEW_IMAGES = 5;
const KNOWN_IMAGES = 100;
/** Different nodes see a changed list up to 2 minutes apart. */
const LIST_SPREAD_MS = 120_000;
const PULL_MS = 300_000;
const WINDOW_MS = 10_000;
const ANSWER_MS = 20;
/** What an answer of the API server has beside keys and values: metadata, and a managed field per key. */
const OBJECT_BYTES = 700;
const BYTES_PER_KEY = 50;
/** A patch and its answer, which is metadata alone. */
const PATCH_BYTES = 2500;

const { signal } = new AbortController();

/** Stands for the API server: counts requests, and the bytes that they would move. */
class CountedStore implements LockStore {
  private readonly records = new MemoryLockStore();
  readonly requests: { readonly atMs: number; readonly bytes: number }[] = [];

  private objectBytes: number | undefined;

  constructor(private readonly clock: VirtualClock) {}

  async read(_consistency: unknown, abort: AbortSignal): Promise<ReadonlyMap<string, string>> {
    const records = await this.records.read('any', abort);
    this.objectBytes ??= objectBytesOf(records);
    this.count(this.objectBytes);
    await this.clock.sleep(ANSWER_MS, abort);
    return records;
  }

  async compareAndSwap(
    key: string,
    expected: string | undefined,
    next: string | undefined,
    abort: AbortSignal,
  ): Promise<boolean> {
    this.count(PATCH_BYTES + this.managedFieldsBytes());
    await this.clock.sleep(ANSWER_MS, abort);
    this.objectBytes = undefined;
    return this.records.compareAndSwap(key, expected, next, abort);
  }

  private managedFieldsBytes(): number {
    return (KNOWN_IMAGES + NEW_IMAGES) * BYTES_PER_KEY;
  }

  private count(bytes: number): void {
    this.requests.push({ atMs: this.clock.monotonicMs(), bytes });
  }
}

describe('1,000 nodes that miss 5 new images, holders that pull for 5 minutes, and no word from the holders', () => {
  beforeAll(() => {
    Logger.overrideLogger(false);
  });

  it('cost the API server at most 25 requests and 2 MB a second, and one pull per image', async () => {
    const clock = new VirtualClock();
    const store = new CountedStore(clock);
    const nodes = Array.from({ length: NODES }, (_, index) => `node-${index}`);
    const keyOf = (image: string): ImageKey => ({
      image: `registry.example/${image}:1`,
      platform: 'linux/amd64',
    });
    for (let index = 0; index < KNOWN_IMAGES; index += 1)
      await addKnown(store, keyOf(`known-${index}`), clock);
    store.requests.length = 0;

    let pulls = 0;
    const done = new Set<string>();
    const live = async (node: string) => {
      const { lock } = new LockNode({ store, clock, node, nodes: () => nodes });
      await clock.sleep(Math.random() * LIST_SPREAD_MS);
      await Promise.all(
        Array.from({ length: NEW_IMAGES }, async (_, index) => {
          const key = keyOf(`new-${index}`);
          // The worst case: a node whose holder answers it would not read the ConfigMap at all.
          while (!done.has(key.image)) {
            await lock.lookup(key, signal);
            const lease = await lock.acquire(key, signal);
            if (lease) {
              pulls += 1;
              await lease.publish(digestOf(Buffer.from(key.image)), 'registry');
              await clock.sleep(PULL_MS);
              expect(lease.mayReadRegistry()).toBe(true);
              done.add(key.image);
              await lease.release();
            } else {
              await clock.sleep(lock.pollIntervalMs());
            }
          }
        }),
      );
    };
    await clock.run(Promise.all(nodes.map(live)));

    const { requestsPerSecond, bytesPerSecond } = busiestWindow(store.requests);
    const last = store.requests.at(-1)?.atMs ?? 0;
    const meanRequests = store.requests.length / (last / 1000);
    process.stdout.write(
      `${NODES} nodes: ${store.requests.length} requests in ${Math.round(last / 1000)} s, ${meanRequests.toFixed(1)}/s; ` +
        `busiest ${WINDOW_MS / 1000} s: ${requestsPerSecond.toFixed(1)} requests/s, ${(bytesPerSecond / 1e6).toFixed(2)} MB/s\n`,
    );
    expect(pulls).toBe(NEW_IMAGES);
    expect(requestsPerSecond).toBeLessThanOrEqual(25);
    expect(bytesPerSecond).toBeLessThanOrEqual(2e6);
    const requests = store.requests.length;
    await clock.advance(600_000);
    expect(store.requests).toHaveLength(requests);
  }, 300_000);
});

function objectBytesOf(records: ReadonlyMap<string, string>): number {
  let bytes = OBJECT_BYTES;
  // Values are JSON in JSON: every quote is escaped.
  for (const [key, text] of records)
    bytes += key.length + BYTES_PER_KEY + text.length + (text.match(/"/g)?.length ?? 0);
  return bytes;
}

async function addKnown(store: LockStore, key: ImageKey, clock: VirtualClock): Promise<void> {
  const recordKey = recordKeyOf(key);
  const record = {
    v: 1 as const,
    ...key,
    digest: digestOf(Buffer.from(key.image)),
    origin: 'registry' as const,
    resolvedAt: 1_763_885_000,
  };
  const text = encodeRecord(recordKey, record, Buffer.alloc(32));
  await clock.run(store.compareAndSwap(recordKey, undefined, text, signal));
}

function busiestWindow(requests: readonly { readonly atMs: number; readonly bytes: number }[]) {
  let most = 0;
  let mostBytes = 0;
  let bytes = 0;
  for (let first = 0, next = 0; first < requests.length; first += 1) {
    const endMs = (requests[first]?.atMs ?? 0) + WINDOW_MS;
    for (; (requests[next]?.atMs ?? Infinity) < endMs; next += 1) bytes += requests[next]?.bytes ?? 0;
    most = Math.max(most, next - first);
    mostBytes = Math.max(mostBytes, bytes);
    bytes -= requests[first]?.bytes ?? 0;
  }
  return {
    requestsPerSecond: most / (WINDOW_MS / 1000),
    bytesPerSecond: mostBytes / (WINDOW_MS / 1000),
  };
}
