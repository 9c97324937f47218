import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, readFile } from 'node:fs/promises';

import { PreheatFailure } from '../../domain/errors.js';
import { errnoOf } from '../../common/errno.js';

/** Who holds a mutex file. */
export interface MutexOwner {
  /** 16 hex digits that name this very mutex, and never another. */
  readonly token: string;
  /** Absent when the file has lost its line: only a power failure does that, and nobody's process has survived it. */
  readonly process?: OwnerProcess;
}

export interface OwnerProcess {
  readonly pid: number;
  /** When that process started, by the kernel's count: a pid alone may have been given to another since. */
  readonly startTime: string;
}

/** A line of ours has a tenth of it. */
const MAX_LINE_BYTES = 1024n;
/** Of a process whose state cannot be seen. */
const UNKNOWN = '0';
/** proc(5): ended, and not waited for by its parent yet. Nothing of it runs. */
const ENDED_STATES: ReadonlySet<string> = new Set(['Z', 'X', 'x']);

/** The content of a mutex file of this process. @param token 16 hex digits, never used before */
export async function describeOwner(token: string): Promise<string> {
  const { startTime } = await statusOf(process.pid);
  return `${process.pid} ${startTime} ${token}\n`;
}

/** @throws PreheatFailure `lock_unavailable` when the file is none of ours */
export async function readOwner(path: string): Promise<MutexOwner | undefined> {
  const file = await openIfThere(path);
  if (!file) return undefined;
  try {
    const stats = await file.stat({ bigint: true });
    if (!stats.isFile() || stats.size > MAX_LINE_BYTES) throw notOurs(path);
    const text = await file.readFile('utf8');
    // A file system that has not written a file's bytes before the power failed gives it none, or zeros.
    if (/^\0*$/.test(text)) {
      const { ino, mtimeNs } = stats;
      return { token: createHash('sha256').update(`${ino} ${mtimeNs}`).digest('hex').slice(0, 16) };
    }
    const [, pid, startTime, token] = /^([1-9]\d*) (\d+) ([0-9a-f]{16})\n$/.exec(text) ?? [];
    if (pid === undefined || startTime === undefined || token === undefined) throw notOurs(path);
    return { token, process: { pid: Number(pid), startTime } };
  } finally {
    await file.close();
  }
}

export async function isAlive({ process: owner }: MutexOwner): Promise<boolean> {
  if (!owner) return false;
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    // EPERM: it runs, as another user. Else there is none, or none can have such a number.
    if (errnoOf(error) !== 'EPERM') return false;
  }
  const { state, startTime } = await statusOf(owner.pid);
  if (ENDED_STATES.has(state)) return false;
  return owner.startTime === UNKNOWN || startTime === UNKNOWN || startTime === owner.startTime;
}

/** Fields 3 and 22 of /proc/<pid>/stat, where there is such a file. The name in field 2 may hold anything, `)` too. */
async function statusOf(pid: number): Promise<{ readonly state: string; readonly startTime: string }> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0] ?? '', startTime: fields[19] ?? UNKNOWN };
  } catch {
    return { state: '', startTime: UNKNOWN };
  }
}

async function openIfThere(path: string) {
  try {
    // Without O_NONBLOCK, opening a FIFO would wait for its writer for ever.
    return await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function notOurs(path: string): PreheatFailure {
  return new PreheatFailure('lock_unavailable', `${path} is not a mutex of this program; remove it`);
}
