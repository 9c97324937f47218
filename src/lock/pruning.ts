import type { RecordEntry, RecordSnapshot } from './record-snapshot.js';
import { holderOf, recordOf } from './record-interpreter.js';

/** Records are removed only when there is more of them than this. Bytes. */
export const PRUNE_ABOVE_BYTES = 512 * 1024;
/** No new record above this, well before the 1 MiB that a ConfigMap holds. Bytes. */
export const FULL_ABOVE_BYTES = 900 * 1024;
/** One node removes no more at a time: others are at it too. */
const MAX_REMOVALS = 20;

/**
 * Records to remove so that the rest fit into `PRUNE_ABOVE_BYTES`: never one with a holder, of a version that is not
 * ours, or in `listed` (record keys). Those that nobody can believe come first (after a change of the peer key there may
 * be many), then those resolved longest ago.
 */
export function recordsToRemove(
  { entries, sizeBytes, readOnly }: RecordSnapshot,
  listed: ReadonlySet<string>,
): [recordKey: string, entry: RecordEntry][] {
  let excessBytes = sizeBytes - PRUNE_ABOVE_BYTES;
  if (readOnly || excessBytes <= 0) return [];
  const candidates = Array.from(entries)
    .filter(
      ([recordKey, entry]) =>
        entry.decoded.kind !== 'unknown-version' && !holderOf(entry) && !listed.has(recordKey),
    )
    .map(([recordKey, entry]) => ({ recordKey, entry, resolvedAt: recordOf(entry)?.resolvedAt ?? 0 }))
    .sort((left, right) => left.resolvedAt - right.resolvedAt);
  const removals: [string, RecordEntry][] = [];
  for (const { recordKey, entry } of candidates.slice(0, MAX_REMOVALS)) {
    if (excessBytes <= 0) break;
    excessBytes -= recordKey.length + Buffer.byteLength(entry.text);
    removals.push([recordKey, entry]);
  }
  return removals;
}
