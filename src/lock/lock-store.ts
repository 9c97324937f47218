/** How fresh a read must be: `any` may be served from a cache of the backend, `latest` sees every finished swap. */
export type Consistency = 'any' | 'latest';

/**
 * Where the cluster keeps its records: opaque strings of at most 512 bytes under keys of 32 hex digits.
 * Leases, MACs, renewal and taking over live in `LockService` alone.
 * Both methods throw `PreheatFailure` `lock_unavailable` when the backend cannot be asked or did not answer
 * (the swap may then have happened), and reject with the signal's reason when it aborts.
 */
export interface LockStore {
  /** All records by key. */
  read(consistency: Consistency, signal: AbortSignal): Promise<ReadonlyMap<string, string>>;

  /**
   * Replaces the record under `key` with `next` if it still is `expected`; undefined means absent.
   * @returns false when another value was there: a lost race
   * @throws PreheatFailure `lock_full` when there is no room for a record
   */
  compareAndSwap(
    key: string,
    expected: string | undefined,
    next: string | undefined,
    signal: AbortSignal,
  ): Promise<boolean>;
}
export const LockStore = Symbol('LockStore');
