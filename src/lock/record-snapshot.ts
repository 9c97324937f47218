import type { DecodedRecord } from './record.js';

/** A record as this process last saw it. */
export interface RecordEntry {
  readonly text: string;
  readonly decoded: DecodedRecord;
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
