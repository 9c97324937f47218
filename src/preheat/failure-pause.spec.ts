import { VirtualClock } from '../../test/support/virtual-clock.js';
import { digestOf } from '../domain/digest.js';
import { PreheatFailure } from '../domain/errors.js';
import { parseImageReference } from '../domain/image-reference.js';
import type { LockService } from '../lock/lock.service.js';
import type { RecordView } from '../lock/record-view.js';
import { InsufficientDisk } from '../store/insufficient-disk.js';
import type { DigestResolver } from './digest-resolver.js';
import { FailurePause } from './failure-pause.js';
import type { StatusStore } from './status.store.js';

const POLL_MS = 2000;
const DIGEST = digestOf(Buffer.from('an index'));
const NONE: RecordView = { stale: false, unknownVersion: false, readOnly: false };
const FAILED: RecordView = { ...NONE, failure: { reason: 'not_found', retryAfterMs: 300_000 } };
const wanted = {
  image: 'registry.example/app:1',
  reference: parseImageReference('registry.example/app:1'),
  platform: { os: 'linux', architecture: 'amd64' },
  priority: 0,
  timeoutMs: 60_000,
};

let clock: VirtualClock;
let record: RecordView;
let archived: boolean;
let shown: Pick<PreheatFailure, 'reason' | 'message'> & { retryInMs: number };

beforeEach(() => {
  clock = new VirtualClock();
  record = FAILED;
  archived = false;
});

/** How long the pause after `error` took, while `events` happened at their times. */
async function pauseMs(
  error: unknown,
  events: Readonly<Record<number, () => void>> = {},
  failures = 1,
): Promise<number> {
  const lock: Pick<LockService, 'lookup' | 'pollIntervalMs'> = {
    lookup: () => Promise.resolve(record),
    pollIntervalMs: () => POLL_MS,
  };
  const resolver: Pick<DigestResolver, 'fromArchive'> = {
    fromArchive: () => Promise.resolve(archived ? DIGEST : undefined),
  };
  const status = {
    fail: (_name: unknown, { reason, message }: PreheatFailure, retryInMs: number) => {
      shown = { reason, message, retryInMs };
    },
  };
  const pause = new FailurePause(
    lock as LockService,
    resolver as DigestResolver,
    status as unknown as StatusStore,
    clock,
  );
  const { signal } = new AbortController();
  const startedMs = clock.monotonicMs();
  for (const [atMs, happen] of Object.entries(events))
    void clock.sleep(Number(atMs), signal).then(happen, () => undefined);
  await clock.run(pause.after(wanted, error, failures, signal));
  return clock.monotonicMs() - startedMs;
}

const notFound = new PreheatFailure('not_found', 'no such tag', { retryAfterMs: 300_000 });

describe('After a failure', () => {
  it('of the registry, an image waits as long as the cluster does, and says until when', async () => {
    expect(await pauseMs(notFound)).toBe(300_000);
    expect(shown).toEqual({ reason: 'not_found', message: 'no such tag', retryInMs: 300_000 });
  });

  it('it goes on when another node has got through, or the record was removed', async () => {
    const gone = () => (record = NONE);
    expect(await pauseMs(notFound, { 9000: gone })).toBeLessThanOrEqual(9000 + POLL_MS);
  });

  it('it goes on also when the record is gone before it was looked at again', async () => {
    expect(await pauseMs(notFound, { 1: () => (record = NONE) })).toBe(POLL_MS);
  });

  it('it goes on when an archive was put there', async () => {
    const put = () => (archived = true);
    expect(await pauseMs(notFound, { 9000: put })).toBeLessThanOrEqual(9000 + POLL_MS);
  });

  it('that never reached the record, it waits the whole time', async () => {
    record = NONE;
    expect(await pauseMs(notFound)).toBe(300_000);
  });

  it('it takes no old records for news while the lock cannot be asked', async () => {
    const down = () => (record = { ...NONE, readOnly: true });
    expect(await pauseMs(notFound, { 9000: down })).toBe(300_000);
  });

  it('of this node alone, it asks nobody', async () => {
    archived = true;
    const full = new PreheatFailure('store_full', 'no room', { retryAfterMs: 60_000 });
    expect(await pauseMs(full, { 9000: () => (record = NONE) })).toBe(60_000);
  });

  describe('of a full disk', () => {
    /** After so many the next try is more than a minute away. */
    const failures = 5;

    class Disk extends InsufficientDisk {
      hasRoom = false;

      constructor() {
        super('no room', '/nowhere', 1);
      }

      override isOver(): Promise<boolean> {
        return Promise.resolve(this.hasRoom);
      }
    }

    it('it goes on when there is room', async () => {
      const disk = new Disk();
      const took = await pauseMs(disk, { 22_000: () => (disk.hasRoom = true) }, failures);
      expect(took).toBe(25_000);
    });

    it('it tries again all the same when there is none', async () => {
      const disk = new Disk();
      const took = await pauseMs(disk, {}, failures);
      expect(took).toBe(shown.retryInMs);
      expect(took).toBeGreaterThan(60_000);
    });

    it('it does not wait for a disk that cannot be looked at', async () => {
      expect(await pauseMs(new InsufficientDisk('no room', '/not/here', 1), {}, failures)).toBe(5_000);
    });
  });
});
