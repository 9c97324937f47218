import { Logger } from '@nestjs/common';

import type { Clock } from '../common/clock.js';
import { PreheatFailure } from '../domain/errors.js';
import { decodeRecord, encodeRecord, type LockRecord } from './record.js';
import { RecordHistory } from './record-history.js';
import type { RecordKey } from './record-key.js';
import type { JudgedRecord, RecordEntry } from './record-snapshot.js';

/** Which records can be believed: by the keys as they are now, and by what was seen before. */
export class RecordJudge {
  readonly history: RecordHistory;
  private readonly logger = new Logger(RecordJudge.name);
  private keys: readonly Buffer[] | undefined;
  /** Texts already reported as not to be believed; those that are still there only. */
  private readonly reported = new Set<string>();

  constructor(
    private readonly key: RecordKey,
    clock: Clock,
    tagTtlMs: number,
  ) {
    this.history = new RecordHistory(clock, tagTtlMs);
  }

  /** Takes the keys as they are now. @returns whether they are others. @throws PreheatFailure `lock_unavailable` */
  async renewKeys(): Promise<boolean> {
    let keys: readonly Buffer[] | undefined;
    try {
      keys = await this.key.current();
    } catch (cause) {
      const why = 'the key that records are authenticated with cannot be had';
      throw new PreheatFailure('lock_unavailable', why, { cause });
    }
    if (sameKeys(keys, this.keys)) return false;
    this.keys = keys;
    this.history.retain((recordKey, text) => this.isAuthentic(recordKey, text));
    return true;
  }

  judge(recordKey: string, text: string): JudgedRecord {
    const decoded = decodeRecord(recordKey, text, this.keys);
    if (decoded.kind !== 'record' || !this.history.supersedes(recordKey, decoded.record)) return decoded;
    const { holder } = decoded.record;
    const why = 'older than what was there before: somebody has put it back';
    return { kind: 'superseded', why, ...(holder && { holder }) };
  }

  /** Without a key anybody may have written it, and it binds nobody. */
  learn(recordKey: string, { text, decoded }: Pick<RecordEntry, 'text' | 'decoded'>): void {
    if (this.keys && decoded.kind === 'record') this.history.learn(recordKey, text, decoded.record);
  }

  /** What a run before has seen, as far as it is authentic. */
  learnKept(texts: ReadonlyMap<string, string>): void {
    for (const [recordKey, text] of texts)
      this.learn(recordKey, { text, decoded: decodeRecord(recordKey, text, this.keys) });
  }

  /** Authenticated with the newest key. @throws PreheatFailure `lock_full` */
  encode(recordKey: string, record: LockRecord): string {
    return encodeRecord(recordKey, record, this.keys?.[0]);
  }

  /** In one line: once the key before has had its time, there may be a thousand that are not to be believed. */
  report(entries: ReadonlyMap<string, RecordEntry>): void {
    const doubts: { readonly recordKey: string; readonly why: string; readonly text: string }[] = [];
    let isKeyInDoubt = false;
    for (const [recordKey, { text, decoded }] of entries) {
      if (!('why' in decoded) || this.reported.has(text)) continue;
      doubts.push({ recordKey, why: decoded.why, text });
      isKeyInDoubt ||= decoded.kind === 'untrusted';
    }
    for (const { text } of doubts) this.reported.add(text);
    this.forgetReported(entries);
    const [first] = doubts;
    if (!first) return;
    const { recordKey, why } = first;
    this.logger.warn({ recordKey, why, others: doubts.length - 1 }, 'record not trusted, treated as absent');
    if (isKeyInDoubt) this.key.suspect();
  }

  private forgetReported(entries: ReadonlyMap<string, RecordEntry>): void {
    if (this.reported.size === 0) return;
    const texts = new Set(Array.from(entries.values(), ({ text }) => text));
    for (const text of this.reported) if (!texts.has(text)) this.reported.delete(text);
  }

  private isAuthentic(recordKey: string, text: string): boolean {
    return this.keys !== undefined && decodeRecord(recordKey, text, this.keys).kind === 'record';
  }
}

function sameKeys(left: readonly Buffer[] | undefined, right: readonly Buffer[] | undefined): boolean {
  if (!left || !right) return left === right;
  return left.length === right.length && left.every((key, index) => right[index]?.equals(key));
}
