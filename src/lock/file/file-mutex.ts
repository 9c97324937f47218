import { randomBytes } from 'node:crypto';
import { link, rm, writeFile } from 'node:fs/promises';

import type { Clock } from '../../common/clock.js';
import { PreheatFailure } from '../../domain/errors.js';
import { errnoOf } from '../../common/errno.js';
import { describeOwner, isAlive, readOwner } from './mutex-owner.js';

const ACQUIRE_TIMEOUT_MS = 10_000;
const RETRY_MS = 10;
/** A breaker may die as well, and so may the one that clears up after it. Deeper than this nobody digs. */
const MAX_DEPTH = 3;

/**
 * Mutual exclusion between the processes of one host by a file that names its owner. The mutex of a dead process is
 * broken. Whether one is dead can be told by its pid alone, so containers that share the file must share their pid
 * namespace, too: each would take the other for dead.
 *
 * Two that find it dead at once must not both remove it, for the slower would remove the faster one's new mutex. So each
 * mutex carries a token of its own, and only who holds the mutex *of that token* (a file beside it) may remove it, after
 * another look: a token never comes back, so the late one finds another and leaves it alone.
 */
export class FileMutex {
  constructor(
    private readonly path: string,
    private readonly clock: Clock,
  ) {}

  /** Runs `work` while no other process runs theirs. @throws PreheatFailure `lock_unavailable` when it cannot be had */
  async run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const deadlineMs = this.clock.monotonicMs() + ACQUIRE_TIMEOUT_MS;
    while (!(await this.tryAcquire(this.path, 0))) {
      if (this.clock.monotonicMs() >= deadlineMs)
        throw new PreheatFailure('lock_unavailable', `${this.path} is held by another process`);
      await this.clock.sleep(RETRY_MS * (1 + Math.random()), signal);
    }
    try {
      signal.throwIfAborted();
      return await work();
    } finally {
      await rm(this.path, { force: true });
    }
  }

  /** Takes `path` if it is free, or its owner is dead. */
  private async tryAcquire(path: string, depth: number): Promise<boolean> {
    if (!(await this.isFree(path, depth))) return false;
    const token = randomBytes(8).toString('hex');
    const draft = draftOf(path, token);
    try {
      // A link appears together with its content, after a power failure too: nobody sees a mutex without an owner.
      await writeFile(draft, await describeOwner(token), { flag: 'wx', flush: true });
      return await tryLink(draft, path);
    } finally {
      await rm(draft, { force: true });
    }
  }

  private async isFree(path: string, depth: number): Promise<boolean> {
    const owner = await readOwner(path);
    if (!owner) return true;
    if (depth >= MAX_DEPTH || (await isAlive(owner))) return false;
    const breaking = `${path}.${owner.token}`;
    if (!(await this.tryAcquire(breaking, depth + 1))) return false;
    try {
      if ((await readOwner(path))?.token !== owner.token) return false;
      await rm(draftOf(path, owner.token), { force: true });
      await rm(path, { force: true });
      return true;
    } finally {
      await rm(breaking, { force: true });
    }
  }
}

function draftOf(path: string, token: string): string {
  return `${path}.${token}.tmp`;
}

async function tryLink(existing: string, path: string): Promise<boolean> {
  try {
    await link(existing, path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false;
    throw error;
  }
}
