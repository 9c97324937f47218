import type { RecordCache } from './record-cache.js';
import type { RecordHistory } from './record-history.js';
import type { RecordEntry } from './record-snapshot.js';
import { recordOf } from './record-interpreter.js';

/** Before the key of a record that was removed. */
const REMOVED = 'removed/';

interface Kept {
  readonly present: ReadonlyMap<string, string>;
  readonly removed: ReadonlyMap<string, string>;
}

/**
 * Keeps the records for a restart, and the last text that could be believed of those that were removed or tampered with
 * since. Only digests matter then, so that the renewals of holders cost no write.
 */
export class KeptRecords {
  private savedDigests = '';
  private isSaving = false;

  constructor(
    private readonly cache: RecordCache,
    private readonly history: RecordHistory,
  ) {}

  async load(): Promise<Kept> {
    const present = new Map<string, string>();
    const removed = new Map<string, string>();
    for (const [name, text] of await this.cache.load())
      if (name.startsWith(REMOVED)) removed.set(name.slice(REMOVED.length), text);
      else present.set(name, text);
    return { present, removed };
  }

  /** @param current the records as they are known; asked again when they may have changed while they were written */
  keep(current: () => ReadonlyMap<string, RecordEntry>): void {
    if (this.isSaving) return;
    const digests = this.digestsOf(current());
    if (digests !== this.savedDigests) void this.save(digests, current);
  }

  private async save(digests: string, current: () => ReadonlyMap<string, RecordEntry>): Promise<void> {
    const entries = current();
    const texts = new Map<string, string>();
    for (const [recordKey, entry] of entries) texts.set(recordKey, this.believedText(recordKey, entry));
    for (const [recordKey, text] of this.history.removed(entries)) texts.set(`${REMOVED}${recordKey}`, text);
    this.isSaving = true;
    const isKept = await this.cache.save(texts);
    this.isSaving = false;
    if (!isKept) return;
    this.savedDigests = digests;
    this.keep(current);
  }

  private believedText(recordKey: string, { text, decoded }: RecordEntry): string {
    return 'why' in decoded ? (this.history.textOf(recordKey) ?? text) : text;
  }

  private digestsOf(entries: ReadonlyMap<string, RecordEntry>): string {
    const present = Array.from(entries, ([recordKey, entry]) => {
      const record = recordOf(entry);
      return record ? `${recordKey}${record.digest ?? ''}` : '';
    });
    return [...present, ...this.history.removed(entries).keys()].join();
  }
}
