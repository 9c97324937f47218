import type { DecodedRecord, RecordHolder } from './record.js';

export type JudgedRecord =
  | DecodedRecord
  /** Authentic, and not what was there last: somebody has put it back. Counts as absent, as one that is not trusted. */
  | { readonly kind: 'superseded'; readonly why: string; readonly holder?: RecordHolder };

/** A record as this process last saw it. */
export interface RecordEntry {
  readonly text: string;
  readonly decoded: JudgedRecord;
  /** Monotonic: when this process first saw this very text. */
  readonly sinceMs: number;
}

export interface RecordSnapshot {
  readonly entries: ReadonlyMap<string, RecordEntry>;
  /** Of keys and texts together. */
  readonly sizeBytes: number;
  /** The backend cannot be asked: these are the last records known, good for reading only. */
  readonly readOnly: boolean;
}
