import { z } from 'zod';

import { writeFileAtomic } from '../../common/atomic-file.js';
import type { Clock } from '../../common/clock.js';
import { errnoOf } from '../../common/errno.js';
import { readSmallFile } from '../../common/small-file.js';
import { stringRecord } from '../../domain/bounded-schema.js';
import { messageOf, PreheatFailure } from '../../domain/errors.js';
import { parseShallowJson } from '../../domain/shallow-json.js';
import type { LockStore } from '../lock-store.js';
import { FileMutex } from './file-mutex.js';
import { removeLeftovers } from './leftovers.js';

const fileSchema = z.object({ v: z.literal(1), records: stringRecord });

/**
 * Records in one JSON file that the agents of a host share. Writers take turns by a mutex file beside it; readers need
 * none, for the file is always replaced as a whole. Both consistencies are one here.
 */
export class FileLockStore implements LockStore {
  private readonly mutex: FileMutex;
  private isSwept = false;
  /** Swaps of this process go one after another, so that they do not wait for each other by polling. */
  private tail: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly path: string,
    clock: Clock,
  ) {
    this.mutex = new FileMutex(`${path}.mutex`, clock);
  }

  async read(_consistency: unknown, signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
    signal.throwIfAborted();
    try {
      return parse((await readSmallFile(this.path)).toString(), this.path);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return new Map();
      throw this.unavailable(error, signal);
    }
  }

  async compareAndSwap(
    key: string,
    expected: string | undefined,
    next: string | undefined,
    signal: AbortSignal,
  ): Promise<boolean> {
    const turn = this.tail.then(async () => {
      signal.throwIfAborted();
      return this.mutex.run(() => this.swap(key, expected, next, signal), signal);
    });
    this.tail = turn.catch(() => undefined);
    try {
      return await turn;
    } catch (error) {
      throw this.unavailable(error, signal);
    }
  }

  private async swap(
    key: string,
    expected: string | undefined,
    next: string | undefined,
    signal: AbortSignal,
  ): Promise<boolean> {
    if (!this.isSwept) await removeLeftovers(this.path);
    this.isSwept = true;
    const records = new Map(await this.read('latest', signal));
    if (records.get(key) !== expected) return false;
    if (next === undefined) records.delete(key);
    else records.set(key, next);
    await writeFileAtomic(this.path, `${JSON.stringify({ v: 1, records: Object.fromEntries(records) })}\n`);
    return true;
  }

  private unavailable(error: unknown, signal: AbortSignal): unknown {
    if (signal.aborted) return signal.reason;
    if (error instanceof PreheatFailure) return error;
    return new PreheatFailure('lock_unavailable', `lock file ${this.path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

function parse(text: string, path: string): ReadonlyMap<string, string> {
  let document: unknown;
  try {
    document = parseShallowJson(text);
  } catch {
    document = undefined;
  }
  const parsed = fileSchema.safeParse(document);
  if (parsed.success) return new Map(Object.entries(parsed.data.records));
  throw new PreheatFailure('lock_unavailable', `${path} is not a lock file of this program`);
}
