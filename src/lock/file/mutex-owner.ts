import { readFile } from 'node:fs/promises';

import { PreheatFailure } from '../../domain/errors.js';
import { errnoOf } from '../../common/errno.js';

/** Who holds a mutex file. */
export interface MutexOwner {
  readonly pid: number;
  /** When that process started, by the kernel's count: a pid alone may have been given to another since. */
  readonly startTime: string;
  readonly token: string;
}

/** The content of a mutex file of this process. @param token 16 hex digits, never used before */
export async function describeOwner(token: string): Promise<string> {
  return `${process.pid} ${await startTimeOf(process.pid)} ${token}\n`;
}

/** @throws PreheatFailure `lock_unavailable` when the file is none of ours */
export async function readOwner(path: string): Promise<MutexOwner | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  const [, pid, startTime, token] = /^(\d+) (\d+) ([0-9a-f]{16})\n$/.exec(text) ?? [];
  if (pid === undefined || startTime === undefined || token === undefined)
    throw new PreheatFailure('lock_unavailable', `${path} is not a mutex of this program; remove it`);
  return { pid: Number(pid), startTime, token };
}

export async function isAlive({ pid, startTime }: MutexOwner): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it runs, as another user.
    if (errnoOf(error) === 'ESRCH') return false;
  }
  const now = await startTimeOf(pid);
  return startTime === '0' || now === '0' || now === startTime;
}

/** Field 22 of /proc/<pid>/stat; `0` where there is no such file. The name in field 2 may hold anything, `)` too. */
async function startTimeOf(pid: number): Promise<string> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '0';
  } catch {
    return '0';
  }
}
