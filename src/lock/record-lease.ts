import { Logger } from '@nestjs/common';

import type { Clock } from '../common/clock.js';
import type { Digest } from '../domain/digest.js';
import { messageOf, PreheatFailure } from '../domain/errors.js';
import { type FailureReason, isRegistryReason } from '../domain/preheat-state.js';
import { nextFailure } from './failure-policy.js';
import type { ImageKey } from './image-key.js';
import type { Lease } from './lease.js';
import { type LockRecord, type RecordHolder, type RecordOrigin, waitedOut } from './record.js';
import type { RecordBook } from './record-book.js';
import type { RecordEntry } from './record-snapshot.js';

/** What a swap that took the lock has written, and when it was sent (monotonic). */
export interface TakenRecord {
  readonly key: ImageKey;
  readonly recordKey: string;
  readonly record: LockRecord & { readonly holder: RecordHolder };
  readonly text: string;
  readonly sentAtMs: number;
}

const GIVE_BACK_ATTEMPTS = 2;
/** Two attempts of a swap and a read each must fit into the 10 s that a shutdown may take. */
const GIVE_BACK_TIMEOUT_MS = 1500;
const MAX_SWAP_TIMEOUT_MS = 10_000;
const MAX_ADOPTIONS = 3;

/** How long a swap may stay unanswered: short enough that its outcome is known, and it is tried again, in time. */
export function swapTimeoutMs(lockTimeoutMs: number): number {
  return Math.min(MAX_SWAP_TIMEOUT_MS, lockTimeoutMs / 6);
}

/**
 * A lease as a record of the book. It is renewed every third of the lock's time-out and is good until two thirds after
 * the last successful swap was *sent*: others take over a whole time-out after they *saw* that swap, which is later.
 * Every write has a number of its own (`renewals`), so no text comes back and a late swap can do no harm.
 */
export class RecordLease implements Lease {
  readonly key: ImageKey;
  private readonly logger = new Logger('Lease');
  private readonly ended = new AbortController();
  private readonly recordKey: string;
  private readonly holder: RecordHolder;
  private record: LockRecord;
  private text: string;
  private renewals = 0;
  private validUntilMs: number;
  private writtenAtMs: number;
  /** The record is known to be someone else's: there is nothing to give back. */
  private lost = false;
  private tail: Promise<unknown> = Promise.resolve();
  private givenBack: Promise<void> | undefined;

  /** @param onEnd called once, when the right to read ends */
  constructor(
    taken: TakenRecord,
    private readonly timeoutMs: number,
    private readonly book: RecordBook,
    private readonly clock: Clock,
    private readonly onEnd: () => void,
  ) {
    this.key = taken.key;
    this.recordKey = taken.recordKey;
    this.holder = taken.record.holder;
    this.record = taken.record;
    this.text = taken.text;
    this.validUntilMs = this.validFrom(taken.sentAtMs);
    this.writtenAtMs = taken.sentAtMs;
    void this.keepRenewed();
    void this.watchTime();
  }

  /** The record as the last swap has left it: while the lease is good, it is what everyone will see. */
  get entry(): RecordEntry {
    return { text: this.text, decoded: { kind: 'record', record: this.record }, sinceMs: this.writtenAtMs };
  }

  get signal(): AbortSignal {
    this.checkTime();
    return this.ended.signal;
  }

  mayReadRegistry(): boolean {
    return !this.signal.aborted;
  }

  async publish(digest: Digest, origin: RecordOrigin): Promise<void> {
    await this.writeUntilEnded((record) => ({
      ...waitedOut(record),
      digest,
      origin,
      resolvedAt: this.book.nextResolvedAt(this.recordKey, record),
    }));
  }

  async succeed(): Promise<void> {
    await this.giveBack(withoutFailure);
  }

  async fail(reason: FailureReason, retryAfterMs?: number): Promise<void> {
    if (!isRegistryReason(reason)) return this.release();
    await this.giveBack((record) => ({
      ...record,
      failure: nextFailure(record.failure, reason, retryAfterMs),
    }));
  }

  async release(): Promise<void> {
    await this.giveBack((record) => record);
  }

  private validFrom(sentAtMs: number): number {
    return sentAtMs + (this.timeoutMs * 2) / 3;
  }

  private checkTime(): void {
    if (this.ended.signal.aborted || this.clock.monotonicMs() < this.validUntilMs) return;
    this.end('the lease could not be renewed in time');
  }

  private end(why: string): void {
    if (this.ended.signal.aborted) return;
    this.ended.abort(new PreheatFailure('lock_unavailable', `${this.key.image}: ${why}`));
    this.onEnd();
  }

  private async watchTime(): Promise<void> {
    try {
      while (!this.signal.aborted) {
        await this.clock.sleep(this.validUntilMs - this.clock.monotonicMs(), this.ended.signal);
      }
    } catch {
      // The lease has ended: nothing is left to watch.
    }
  }

  private async keepRenewed(): Promise<void> {
    try {
      for (;;) {
        await this.clock.sleep(this.timeoutMs / 3, this.ended.signal);
        await this.writeUntilEnded((record) => record);
      }
    } catch (error) {
      if (!this.ended.signal.aborted) this.end(messageOf(error));
      if (!this.givenBack) this.logger.warn({ image: this.key.image, error: messageOf(error) }, 'lease lost');
    }
  }

  /** Writes a change, again and again while the backend does not answer and the lease is good. */
  private async writeUntilEnded(change: (record: LockRecord) => LockRecord): Promise<void> {
    for (;;) {
      try {
        await this.inTurn(() => this.write(change));
        return;
      } catch (error) {
        this.signal.throwIfAborted();
        if (!(error instanceof PreheatFailure) || error.reason !== 'lock_unavailable') throw error;
        await this.clock.sleep(Math.min(1000, this.timeoutMs / 30), this.ended.signal);
      }
    }
  }

  private async write(change: (record: LockRecord) => LockRecord): Promise<void> {
    for (let adoptions = 0; adoptions <= MAX_ADOPTIONS; adoptions += 1) {
      this.signal.throwIfAborted();
      this.renewals += 1;
      const record = { ...change(this.record), holder: { ...this.holder, renewals: this.renewals } };
      const text = await this.book.encode(this.recordKey, record);
      const sentAtMs = this.clock.monotonicMs();
      const limitMs = swapTimeoutMs(this.timeoutMs);
      const actual = await this.book.swap(this.recordKey, this.text, text, limitMs, this.ended.signal);
      if (actual === text) {
        this.record = record;
        this.text = text;
        this.writtenAtMs = sentAtMs;
        this.validUntilMs = Math.max(this.validUntilMs, this.validFrom(sentAtMs));
        return;
      }
      if (!this.adopt(actual)) {
        this.end('someone else has taken the lock');
        this.signal.throwIfAborted();
      }
    }
    throw new PreheatFailure(
      'lock_unavailable',
      `${this.key.image}: the record keeps changing under its holder`,
    );
  }

  /** An earlier swap of ours may have come through late: the lease goes on from there, but no longer for it. */
  private adopt(actual: string | undefined): boolean {
    const decoded = actual === undefined ? undefined : this.book.decode(this.recordKey, actual);
    const found = decoded?.kind === 'record' ? decoded.record : undefined;
    if (
      actual === undefined ||
      found?.holder?.instance !== this.holder.instance ||
      found.holder.term !== this.holder.term
    ) {
      this.lost = true;
      return false;
    }
    this.record = found;
    this.text = actual;
    return true;
  }

  private giveBack(change: (record: LockRecord) => LockRecord): Promise<void> {
    this.givenBack ??= (async () => {
      this.end('the lease was given back');
      await this.inTurn(() => this.dropHolder(change));
    })();
    return this.givenBack;
  }

  private async dropHolder(change: (record: LockRecord) => LockRecord): Promise<void> {
    // The lease has ended, its own signal too; the time-outs bound what is left to do.
    const unbounded = new AbortController().signal;
    let problem: unknown;
    for (let attempt = 0; attempt < GIVE_BACK_ATTEMPTS && !this.lost; attempt += 1) {
      try {
        const record = withoutHolder(change(this.record));
        const text = isWorthKeeping(record) ? await this.book.encode(this.recordKey, record) : undefined;
        const actual = await this.book.swap(this.recordKey, this.text, text, GIVE_BACK_TIMEOUT_MS, unbounded);
        if (actual === text || !this.adopt(actual)) return;
      } catch (error) {
        problem = error;
      }
    }
    if (!this.lost)
      this.logger.warn(
        { image: this.key.image, error: messageOf(problem) },
        'lock not given back; it frees itself after its time-out',
      );
  }

  /** One write at a time: each builds on the text that the one before has left. */
  private inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.tail.then(work);
    this.tail = turn.catch(() => undefined);
    return turn;
  }
}

function withoutFailure(record: LockRecord): LockRecord {
  const rest = { ...record };
  delete rest.failure;
  return rest;
}

function withoutHolder(record: LockRecord): LockRecord {
  const rest = { ...record };
  delete rest.holder;
  return rest;
}

const OWN_MEMBERS: ReadonlySet<string> = new Set(['v', 'image', 'platform', 'origin', 'mac']);

/** A record with nothing but its name is not kept. */
function isWorthKeeping(record: LockRecord): boolean {
  return Object.keys(record).some((member) => !OWN_MEMBERS.has(member));
}
