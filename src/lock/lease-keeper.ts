import { type BeforeApplicationShutdown, Inject, Injectable } from '@nestjs/common';

import { Clock } from '../common/clock.js';
import { AppConfig } from '../config/app-config.js';
import { PreheatMetrics } from '../metrics/preheat-metrics.js';
import { type ImageKey, recordKeyOf } from './image-key.js';
import type { Lease } from './lease.js';
import { LockIdentity } from './lock-identity.js';
import { type LockRecord, RECORD_VERSION, recordNodeName } from './record.js';
import { RecordBook } from './record-book.js';
import type { RecordEntry } from './record-snapshot.js';
import { RecordLease, swapTimeoutMs } from './record-lease.js';

/** Takes locks and keeps the leases of this process; at shutdown gives them back while peers are still answered. */
@Injectable()
export class LeaseKeeper implements BeforeApplicationShutdown {
  private readonly leases = new Map<string, RecordLease>();
  /** Terms never repeat in one process, so instance and term name one lease, and no text of a record ever comes back. */
  private lastTerm = 0;
  private closed = false;

  constructor(
    private readonly book: RecordBook,
    @Inject(LockIdentity) private readonly self: LockIdentity,
    @Inject(Clock) private readonly clock: Clock,
    @Inject(AppConfig) private readonly config: Pick<AppConfig, 'lock'>,
    @Inject(PreheatMetrics) private readonly metrics: Pick<PreheatMetrics, 'lockHeld'>,
  ) {}

  /** True while this process has the right to read that image. */
  holds(recordKey: string): boolean {
    return this.leases.get(recordKey)?.mayReadRegistry() ?? false;
  }

  /** The record of an image that this process has the right to read. */
  entryOf(recordKey: string): RecordEntry | undefined {
    return this.holds(recordKey) ? this.leases.get(recordKey)?.entry : undefined;
  }

  /**
   * Puts this process into the record as its holder, if its text still is `expected`.
   * @param before what of the record is to be kept
   * @returns undefined when someone else was faster
   * @throws PreheatFailure `lock_unavailable`, `lock_full`
   */
  async take(
    key: ImageKey,
    expected: string | undefined,
    before: LockRecord | undefined,
    signal: AbortSignal,
  ): Promise<Lease | undefined> {
    signal.throwIfAborted();
    if (this.closed) return undefined;
    const recordKey = recordKeyOf(key);
    const term = (this.lastTerm = Math.max(before?.holder?.term ?? 0, this.lastTerm) + 1);
    const { instance, address } = this.self;
    const holder = { node: recordNodeName(this.self.node), instance, address, term, renewals: 0 };
    const record = { ...before, v: RECORD_VERSION, image: key.image, platform: key.platform, holder };
    const text = await this.book.encode(recordKey, record);

    const sentAtMs = this.clock.monotonicMs();
    const limitMs = swapTimeoutMs(this.config.lock.timeoutMs);
    // A swap under way is not aborted: one that came through unnoticed would block the lock until its time-out.
    const actual = await this.book.swap(recordKey, expected, text, limitMs, new AbortController().signal);
    if (actual !== text) return undefined;
    const taken = { key, recordKey, record, text, sentAtMs };
    const lease = new RecordLease(taken, this.config.lock.timeoutMs, this.book, this.clock, () => {
      if (this.leases.get(recordKey) === lease) this.leases.delete(recordKey);
      this.metrics.lockHeld(key.image, false);
    });
    this.leases.set(recordKey, lease);
    this.metrics.lockHeld(key.image, true);
    if (signal.aborted || this.isClosed()) await lease.release();
    signal.throwIfAborted();
    return lease.mayReadRegistry() ? lease : undefined;
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.closed = true;
    await Promise.all(Array.from(this.leases.values(), (lease) => lease.release()));
  }

  private isClosed(): boolean {
    return this.closed;
  }
}
