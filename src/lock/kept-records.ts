import type { RecordCache } from './record-cache.js';
import type { RecordEntry } from './record-snapshot.js';

/** Keeps the records for a restart. Only digests matter then, so that the renewals of holders cost no write. */
export class KeptRecords {
  private savedDigests = '';
  private isSaving = false;

  constructor(private readonly cache: RecordCache) {}

  /** @param current the records as they are known; asked again when they may have changed while they were written */
  keep(current: () => ReadonlyMap<string, RecordEntry>): void {
    const digests = digestsOf(current());
    if (digests !== this.savedDigests && !this.isSaving) void this.save(digests, current);
  }

  private async save(digests: string, current: () => ReadonlyMap<string, RecordEntry>): Promise<void> {
    const texts = Array.from(current(), ([recordKey, { text }]) => [recordKey, text] as const);
    this.isSaving = true;
    const isKept = await this.cache.save(new Map(texts));
    this.isSaving = false;
    if (!isKept) return;
    this.savedDigests = digests;
    this.keep(current);
  }
}

function digestsOf(entries: ReadonlyMap<string, RecordEntry>): string {
  return Array.from(entries, ([recordKey, { decoded }]) =>
    decoded.kind === 'record' ? `${recordKey}${decoded.record.digest ?? ''}` : '',
  ).join();
}
