import { Inject, Injectable, Logger } from '@nestjs/common';

import { Clock } from '../common/clock.js';
import { AppConfig } from '../config/app-config.js';
import { PreheatFailure } from '../domain/errors.js';
import { withDeadline } from './deadline.js';
import { isRecordKey } from './image-key.js';
import { KeptRecords } from './kept-records.js';
import { type Consistency, LockStore } from './lock-store.js';
import { Outage } from './outage.js';
import type { LockRecord } from './record.js';
import { RecordCache } from './record-cache.js';
import { RecordJudge } from './record-judge.js';
import { RecordKey } from './record-key.js';
import type { JudgedRecord, RecordEntry, RecordSnapshot } from './record-snapshot.js';
import { SharedCall } from './shared-call.js';

/** A backend that did not answer is not asked again for this long. */
const FAILURE_MEMORY_MS = 1000;
const READ_TIMEOUT_MS = 10_000;
const EMPTY: RecordSnapshot = { entries: new Map(), sizeBytes: 0, readOnly: true };

/**
 * The cluster's records as this process knows them: reads shared by all images, when each record was last seen to
 * change, and swaps whose outcome is certain.
 */
@Injectable()
export class RecordBook {
  private readonly logger = new Logger(RecordBook.name);
  private readonly unreadable = new Outage(
    this.logger,
    'records cannot be read: the last ones serve, and the registry is not asked',
    'records can be read again',
  );
  private readonly unwritable = new Outage(
    this.logger,
    'records cannot be written: no lock can be taken',
    'records can be written again',
  );
  private readonly sharedRead = new SharedCall<RecordSnapshot>();
  private snapshot = EMPTY;
  private readAtMs = -Infinity;
  private failure: { readonly error: unknown; readonly atMs: number } | undefined;
  /** Records were read, or recalled from the last run. */
  private isInformed = false;
  /** What the last run has seen counts. */
  private hasHistory = false;
  private readonly judge: RecordJudge;
  private readonly kept: KeptRecords;
  /** Records that a swap has told of while a read was under way: newer than what that read will say. */
  private readonly notedSinceRead = new Set<string>();

  constructor(
    @Inject(LockStore) private readonly store: LockStore,
    @Inject(RecordKey) key: RecordKey,
    @Inject(RecordCache) cache: RecordCache,
    @Inject(Clock) private readonly clock: Clock,
    @Inject(AppConfig) { tagTtlMs }: Pick<AppConfig, 'tagTtlMs'>,
  ) {
    this.judge = new RecordJudge(key, clock, tagTtlMs);
    this.kept = new KeptRecords(cache, this.judge.history);
  }

  /** What was read last, without asking anyone. */
  get last(): RecordSnapshot {
    return this.snapshot;
  }

  /**
   * All records, from a read that was asked for at most `maxAgeMs` ago or is under way; otherwise from a new one,
   * which the backend may answer from a cache.
   * @throws PreheatFailure `lock_unavailable`
   */
  async read(maxAgeMs: number, signal: AbortSignal): Promise<RecordSnapshot> {
    const nowMs = this.clock.monotonicMs();
    if (!this.snapshot.readOnly && nowMs - this.readAtMs <= maxAgeMs) return this.snapshot;
    if (this.failure && nowMs - this.failure.atMs < FAILURE_MEMORY_MS) throw this.failure.error;
    return this.sharedRead.join((shared) => this.readNow(shared), signal);
  }

  /** The same, or the last records known when the backend cannot be asked. */
  async readOrRecall(maxAgeMs: number, signal: AbortSignal): Promise<RecordSnapshot> {
    try {
      return await this.read(maxAgeMs, signal);
    } catch {
      signal.throwIfAborted();
      if (!this.isInformed) await this.recall();
      this.snapshot = { ...this.snapshot, readOnly: true };
      return this.snapshot;
    }
  }

  /**
   * Swaps one record and makes sure of the outcome: a swap that was refused or not answered is followed by a read that
   * sees every finished swap.
   * @param next undefined removes the record
   * @returns the text that is there now: `next` means that this swap happened, any other that someone else was faster
   * @throws PreheatFailure `lock_unavailable` with what the backend said, when it wrote nothing though nobody was
   * faster, or when the outcome stays unknown; `lock_full`
   */
  async swap(
    recordKey: string,
    expected: string | undefined,
    next: string | undefined,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    let refusal: { readonly error: unknown } | undefined;
    try {
      const swapped = await this.within(
        timeoutMs,
        (limited) => this.store.compareAndSwap(recordKey, expected, next, limited),
        signal,
      );
      if (swapped) {
        this.unwritable.over();
        this.note(recordKey, next);
        return next;
      }
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof PreheatFailure && error.reason === 'lock_full') throw error;
      refusal = { error };
    }
    const records = await this.within(timeoutMs, (limited) => this.store.read('latest', limited), signal);
    const actual = records.get(recordKey);
    this.note(recordKey, actual);
    if (refusal && actual === expected) {
      this.unwritable.met(refusal.error);
      throw refusal.error;
    }
    return actual;
  }

  /** The text of a record, authenticated with the newest key. @throws PreheatFailure `lock_full`, `lock_unavailable` */
  async encode(recordKey: string, record: LockRecord): Promise<string> {
    await this.renewKeys();
    return this.judge.encode(recordKey, record);
  }

  decode(recordKey: string, text: string): JudgedRecord {
    const known = this.snapshot.entries.get(recordKey);
    return known?.text === text ? known.decoded : this.judge.judge(recordKey, text);
  }

  /** For a record whose tag is resolved now; see `RecordHistory`. */
  nextResolvedAt(recordKey: string, record: LockRecord): number {
    return this.judge.history.nextResolvedAt(recordKey, record);
  }

  private async readNow(signal: AbortSignal): Promise<RecordSnapshot> {
    const askedAtMs = this.clock.monotonicMs();
    this.notedSinceRead.clear();
    try {
      await this.renewKeys();
      await this.recallHistory();
      const entries = await this.readEntries(signal);
      this.failure = undefined;
      this.unreadable.over();
      this.adopt(entries, false);
      this.remember();
      this.readAtMs = askedAtMs;
      return this.snapshot;
    } catch (error) {
      if (!signal.aborted) {
        this.failure = { error, atMs: this.clock.monotonicMs() };
        this.unreadable.met(error);
      }
      throw error;
    }
  }

  /** A cache of the backend may be behind: only a read that sees all swaps shows that an older record was put back. */
  private async readEntries(signal: AbortSignal): Promise<ReadonlyMap<string, RecordEntry>> {
    const readAs = async (consistency: Consistency): Promise<ReadonlyMap<string, RecordEntry>> => {
      const read = (limited: AbortSignal) => this.store.read(consistency, limited);
      return this.entriesOf(this.withNoted(await this.within(READ_TIMEOUT_MS, read, signal)));
    };
    const entries = await readAs('any');
    const isNew = ([recordKey, entry]: readonly [string, RecordEntry]) =>
      entry.decoded.kind === 'superseded' && this.snapshot.entries.get(recordKey)?.text !== entry.text;
    return Array.from(entries).some(isNew) ? readAs('latest') : entries;
  }

  private entriesOf(records: ReadonlyMap<string, string>): ReadonlyMap<string, RecordEntry> {
    const ours = Array.from(records).filter(([recordKey]) => isRecordKey(recordKey));
    return new Map(ours.map(([recordKey, text]) => [recordKey, this.entryOf(recordKey, text)]));
  }

  private adopt(entries: ReadonlyMap<string, RecordEntry>, readOnly: boolean): void {
    let sizeBytes = 0;
    for (const [recordKey, entry] of entries) {
      this.judge.learn(recordKey, entry);
      sizeBytes += recordKey.length + Buffer.byteLength(entry.text);
    }
    this.snapshot = { entries, sizeBytes, readOnly };
    this.isInformed = true;
    this.judge.report(entries);
  }

  private withNoted(records: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
    const result = new Map(records);
    for (const recordKey of this.notedSinceRead) {
      const text = this.snapshot.entries.get(recordKey)?.text;
      if (text === undefined) result.delete(recordKey);
      else result.set(recordKey, text);
    }
    return result;
  }

  private entryOf(recordKey: string, text: string): RecordEntry {
    const known = this.snapshot.entries.get(recordKey);
    if (known?.text === text) return known;
    return { text, decoded: this.judge.judge(recordKey, text), sinceMs: this.clock.monotonicMs() };
  }

  /** Takes over what a swap, or the read after it, found under one key. */
  private note(recordKey: string, text: string | undefined): void {
    const entry = text === undefined ? undefined : this.entryOf(recordKey, text);
    // Perhaps a later swap was noted while this read was under way: the next read makes sure.
    if (entry?.decoded.kind === 'superseded') return;
    this.notedSinceRead.add(recordKey);
    const entries = new Map(this.snapshot.entries);
    const before = entries.get(recordKey)?.text;
    if (entry) entries.set(recordKey, entry);
    else entries.delete(recordKey);
    if (entry) this.judge.learn(recordKey, entry);
    const sizeOf = (value: string | undefined) =>
      value === undefined ? 0 : recordKey.length + Buffer.byteLength(value);
    this.snapshot = {
      ...this.snapshot,
      entries,
      sizeBytes: this.snapshot.sizeBytes - sizeOf(before) + sizeOf(text),
    };
    this.judge.report(entries);
    this.remember();
  }

  private async renewKeys(): Promise<void> {
    if (!(await this.judge.renewKeys())) return;
    // Other keys, another verdict; since when a record is what it is does not depend on them.
    const entries = Array.from(this.snapshot.entries, ([recordKey, entry]) => {
      return [recordKey, { ...entry, decoded: this.judge.judge(recordKey, entry.text) }] as const;
    });
    for (const [recordKey, entry] of entries) this.judge.learn(recordKey, entry);
    this.snapshot = { ...this.snapshot, entries: new Map(entries) };
    this.judge.report(this.snapshot.entries);
  }

  private async recall(): Promise<void> {
    try {
      await this.renewKeys();
      await this.recallHistory();
      const { present } = await this.kept.load();
      this.adopt(this.entriesOf(present), true);
    } catch {
      // Without the key nothing is believed, as the read before has said: another attempt may have it.
    }
  }

  /** Once, before anything is believed: an older record may have been put back while this process was away. */
  private async recallHistory(): Promise<void> {
    if (this.hasHistory) return;
    const { present, removed } = await this.kept.load();
    this.judge.learnKept(present);
    this.judge.learnKept(removed);
    this.hasHistory = true;
  }

  private remember(): void {
    this.kept.keep(() => this.snapshot.entries);
  }

  private within<T>(
    timeoutMs: number,
    work: (signal: AbortSignal) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const late = () =>
      new PreheatFailure('lock_unavailable', `the lock's backend did not answer within ${timeoutMs} ms`);
    return withDeadline(this.clock, timeoutMs, late, work, signal);
  }
}
