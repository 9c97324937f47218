import type { Clock } from '../common/clock.js';
import type { Digest } from '../domain/digest.js';
import type { LockRecord } from './record.js';

/** The last authentic text of a record that said what its tag means. */
interface Resolution {
  readonly text: string;
  readonly digest: Digest;
  readonly resolvedAt: number;
}

/** Records that are there are always remembered; of those that were removed, this many. */
const MAX_REMOVED = 1000;

/**
 * What this process has seen each record say of its tag. A MAC tells who wrote a text, not when: whoever may edit the
 * records, and has no key, can put last month's back. It is told by `resolvedAt`, which only grows from text to text of
 * a record, whatever the clocks of its writers say: each writes more than it has seen there. Only where a record was
 * removed, and is made anew by a node that has not seen the old one, is one clock measured against another; should it be
 * behind, the new record counts as absent here, and the next holder's does not.
 */
export class RecordHistory {
  private readonly resolutions = new Map<string, Resolution>();

  /** @param tagTtlMs 0: never */
  constructor(
    private readonly clock: Clock,
    private readonly tagTtlMs: number,
  ) {}

  /** Whether the record names another digest than a later text of it that was seen before. */
  supersedes(recordKey: string, { digest, resolvedAt = 0 }: LockRecord): boolean {
    const known = this.resolutions.get(recordKey);
    if (!known || digest === undefined || digest === known.digest) return false;
    return resolvedAt < known.resolvedAt && !this.isFarAhead(known.resolvedAt);
  }

  learn(recordKey: string, text: string, { digest, resolvedAt }: LockRecord): void {
    if (digest === undefined || resolvedAt === undefined) return;
    const known = this.resolutions.get(recordKey);
    if (known && resolvedAt < known.resolvedAt && !this.isFarAhead(known.resolvedAt)) return;
    // The last one told of is the last in order.
    this.resolutions.delete(recordKey);
    this.resolutions.set(recordKey, { text, digest, resolvedAt });
  }

  /** When a tag that is resolved now was resolved, for the record: seconds since the Unix epoch, or a little later. */
  nextResolvedAt(recordKey: string, { resolvedAt: written = 0 }: LockRecord): number {
    const known = this.resolutions.get(recordKey)?.resolvedAt ?? 0;
    const before = [written, known].filter((seconds) => !this.isFarAhead(seconds));
    return Math.max(
      Math.floor(this.clock.wallMs() / 1000),
      ...before.map((seconds) => Math.floor(seconds) + 1),
    );
  }

  /** The text that told last what the tag means. */
  textOf(recordKey: string): string | undefined {
    return this.resolutions.get(recordKey)?.text;
  }

  /** Texts of records that are not among `present`, by key; the earliest are forgotten when there are too many. */
  removed(present: ReadonlyMap<string, unknown>): ReadonlyMap<string, string> {
    const gone = Array.from(this.resolutions).filter(([recordKey]) => !present.has(recordKey));
    for (const [recordKey] of gone.splice(0, Math.max(0, gone.length - MAX_REMOVED)))
      this.resolutions.delete(recordKey);
    return new Map(gone.map(([recordKey, { text }]) => [recordKey, text]));
  }

  /** Forgets what is not authentic by other keys: whoever had the old one can bind nobody for longer. */
  retain(isAuthentic: (recordKey: string, text: string) => boolean): void {
    for (const [recordKey, { text }] of this.resolutions)
      if (!isAuthentic(recordKey, text)) this.resolutions.delete(recordKey);
  }

  /** By a clock that was wrong. Such a record is stale to everyone, and must not stay so until that time has come. */
  private isFarAhead(resolvedAtSeconds: number): boolean {
    return this.tagTtlMs > 0 && resolvedAtSeconds * 1000 - this.clock.wallMs() > this.tagTtlMs;
  }
}
