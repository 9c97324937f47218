/** Where the last records read survive a restart, for the time when the lock's backend cannot be asked. */
export interface RecordCache {
  /** The records saved last, by key; empty when there are none or they cannot be read. */
  load(): Promise<ReadonlyMap<string, string>>;
  /** False when they could not be kept; why is in the log. */
  save(records: ReadonlyMap<string, string>): Promise<boolean>;
}
export const RecordCache = Symbol('RecordCache');
