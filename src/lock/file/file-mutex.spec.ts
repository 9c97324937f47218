import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, rmdir, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Writable } from 'node:stream';

import { systemClock } from '../../common/clock.js';
import { FileMutex } from './file-mutex.js';

jest.setTimeout(60_000);

const { signal } = new AbortController();
let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'preheat-mutex-'));
  path = join(directory, 'locks.json.mutex');
});
afterEach(() => rm(directory, { recursive: true }));

/** A pid that was a process's a moment ago. */
async function deadPid(): Promise<number> {
  const child = spawn('true');
  await once(child, 'exit');
  return child.pid ?? 0;
}

/** The state and what follows it, from /proc/<pid>/stat. */
async function statOf(pid: number): Promise<string[]> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/** A shell that becomes a program which does not know that it has a child: that one ends with the shell's fourth pipe. */
function spawnForgetfulParent(): ChildProcess {
  return spawn('sh', ['-c', 'cat <&3 & echo $!; exec sleep 600 3<&-'], {
    stdio: ['ignore', 'pipe', 'inherit', 'pipe'],
  });
}

/** The pid of its child, once that has ended. */
async function zombieOf({ pid, stdout, stdio }: ChildProcess): Promise<number> {
  const [line] = (await once(stdout!, 'data')) as [Buffer];
  const zombie = Number(line.toString());
  // Until then it is a shell, which would wait for its child.
  while ((await readFile(`/proc/${pid}/comm`, 'utf8')) !== 'sleep\n') await systemClock.sleep(5);
  (stdio[3] as Writable).end();
  while ((await statOf(zombie))[0] !== 'Z') await systemClock.sleep(5);
  return zombie;
}

/** Many at once, each through a mutex object of its own, as processes would. @returns the most that were inside together */
async function crowd(size: number): Promise<number> {
  let inside = 0;
  let most = 0;
  await Promise.all(
    Array.from({ length: size }, () =>
      new FileMutex(path, systemClock).run(async () => {
        inside += 1;
        most = Math.max(most, inside);
        await systemClock.sleep(2);
        inside -= 1;
      }, signal),
    ),
  );
  return most;
}

describe('file mutex', () => {
  it('lets in one at a time and leaves nothing', async () => {
    expect(await crowd(20)).toBe(1);
    expect(await readdir(directory)).toEqual([]);
  });

  it('of a dead process is broken, by many at once, without letting in two', async () => {
    for (let round = 0; round < 10; round += 1) {
      const token = '0123456789abcde'.padEnd(16, String(round));
      await writeFile(path, `${await deadPid()} 1 ${token}\n`);
      await writeFile(`${path}.${token}.tmp`, 'draft of the dead one');
      expect(await crowd(10)).toBe(1);
      expect(await readdir(directory)).toEqual([]);
    }
  });

  it('is broken too when the breaker before died at it', async () => {
    await writeFile(path, `${await deadPid()} 1 ${'a'.repeat(16)}\n`);
    await writeFile(`${path}.${'a'.repeat(16)}`, `${await deadPid()} 1 ${'b'.repeat(16)}\n`);
    expect(await crowd(5)).toBe(1);
    expect(await readdir(directory)).toEqual([]);
  });

  it('is broken when its pid has been given to another process since', async () => {
    await writeFile(path, `${process.pid} 1 ${'a'.repeat(16)}\n`);
    expect(await crowd(3)).toBe(1);
  });

  it('is broken when it names a number that no process can have', async () => {
    await writeFile(path, `${2 ** 53} 0 ${'a'.repeat(16)}\n`);
    expect(await crowd(2)).toBe(1);
  });

  it('is not taken for its own when it is a folder, names no process, or is too long', async () => {
    await mkdir(path);
    await expect(crowd(1)).rejects.toMatchObject({ code: 'LOCK_UNAVAILABLE' });
    await rmdir(path);
    await writeFile(path, `0 0 ${'a'.repeat(16)}\n`);
    await expect(crowd(1)).rejects.toMatchObject({ code: 'LOCK_UNAVAILABLE' });
    await truncate(path, 2 ** 40);
    await expect(crowd(1)).rejects.toThrow(/is not a mutex of this program/);
  });

  it('of a process that has ended is broken though its parent has not waited for it', async () => {
    const parent = spawnForgetfulParent();
    try {
      const zombie = await zombieOf(parent);
      const stat = await statOf(zombie);
      await writeFile(path, `${zombie} ${stat[19]} ${'a'.repeat(16)}\n`);
      expect(await crowd(3)).toBe(1);
    } finally {
      parent.kill('SIGKILL');
      await once(parent, 'exit');
    }
  });

  it.each([
    ['nothing', ''],
    ['zeros', '\0'.repeat(40)],
  ])('that a power failure has left with %s in it is broken', async (_what, text) => {
    await writeFile(path, text);
    expect(await crowd(10)).toBe(1);
    expect(await readdir(directory)).toEqual([]);
  });

  it('of a living process is left alone: others give up when told to', async () => {
    const holder = new FileMutex(path, systemClock);
    const waiter = new AbortController();
    await holder.run(async () => {
      const waiting = new FileMutex(path, systemClock).run(() => Promise.resolve('in'), waiter.signal);
      setTimeout(() => waiter.abort(new Error('enough')), 100);
      await expect(waiting).rejects.toThrow('enough');
    }, signal);
    expect(await new FileMutex(path, systemClock).run(() => Promise.resolve('in'), signal)).toBe('in');
  });

  it('is not taken for its own when a file of another kind lies there', async () => {
    await writeFile(path, 'something else');
    await expect(new FileMutex(path, systemClock).run(() => Promise.resolve(), signal)).rejects.toMatchObject(
      {
        reason: 'lock_unavailable',
      },
    );
  });
});
