import type { RecordEntry, RecordSnapshot } from './record-book.js';

/** Records are removed only when there is more of them than this. Bytes. */
export const PRUNE_ABOVE_BYTES = 512 * 1024;
/** No new record above this, well before the 1 MiB that a ConfigMap holds. Bytes. */
export const FULL_ABOVE_BYTES = 900 * 1024;
/** One node removes no more at a time: others are at it too. */
const MAX_REMOVALS = 20;

/**
 * Records to remove so that the rest fit into `PRUNE_ABOVE_BYTES`: never one with a holder, of a version that is not
 * ours, or in `listed` (record keys); resolved longest ago first.
 */
export function recordsToRemove(
  { entries, sizeBytes, readOnly }: RecordSnapshot,
  listed: ReadonlySet<string>,
): [recordKey: string, entry: RecordEntry][] {
  let excessBytes = sizeBytes - PRUNE_ABOVE_BYTES;
  if (readOnly || excessBytes <= 0) return [];
  const candidates = Array.from(entries)
    .flatMap(([recordKey, entry]) =>
      entry.decoded.kind === 'record' && !entry.decoded.record.holder && !listed.has(recordKey)
        ? [{ recordKey, entry, resolvedAt: entry.decoded.record.resolvedAt ?? 0 }]
        : [],
    )
    .sort((left, right) => left.resolvedAt - right.resolvedAt);
  const removals: [string, RecordEntry][] = [];
  for (const { recordKey, entry } of candidates.slice(0, MAX_REMOVALS)) {
    if (excessBytes <= 0) break;
    excessBytes -= recordKey.length + Buffer.byteLength(entry.text);
    removals.push([recordKey, entry]);
  }
  return removals;
}
