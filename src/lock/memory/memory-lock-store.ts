import { Injectable } from '@nestjs/common';

import type { LockStore } from '../lock-store.js';

/** Records of one process: a single agent, the simulators, and tests. Both consistencies are one here. */
@Injectable()
export class MemoryLockStore implements LockStore {
  private readonly records = new Map<string, string>();

  read(_consistency: unknown, signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
    if (signal.aborted) return rejected(signal);
    return Promise.resolve(new Map(this.records));
  }

  compareAndSwap(
    key: string,
    expected: string | undefined,
    next: string | undefined,
    signal: AbortSignal,
  ): Promise<boolean> {
    if (signal.aborted) return rejected(signal);
    if (this.records.get(key) !== expected) return Promise.resolve(false);
    if (next === undefined) this.records.delete(key);
    else this.records.set(key, next);
    return Promise.resolve(true);
  }
}

function rejected(signal: AbortSignal): Promise<never> {
  return Promise.reject(signal.reason as Error);
}
