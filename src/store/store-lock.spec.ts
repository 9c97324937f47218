import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';

import { TemporaryStore } from '../../test/support/temporary-store.js';
import { StoreLock } from './store-lock.js';
import { StoreLockedError } from './store-locked-error.js';

describe('StoreLock', () => {
  let files: TemporaryStore;

  beforeEach(async () => {
    files = await TemporaryStore.open();
  });
  afterEach(() => files.dispose());

  const another = (): StoreLock => new StoreLock(files.layout);

  it('lets one agent have the store, until it gives it back', async () => {
    await expect(another().acquire()).rejects.toThrow(StoreLockedError);
    await expect(another().acquire()).rejects.toThrow(`process ${process.pid}`);
    await files.store.close();
    expect(existsSync(files.layout.lockFile)).toBe(false);
    const next = another();
    await next.acquire();
    await next.release();
    await next.release();
  });

  it('is not given back by one who does not have it', async () => {
    const loser = another();
    await loser.acquire().catch(() => undefined);
    await loser.release();
    expect(existsSync(files.layout.lockFile)).toBe(true);
  });

  it('breaks the lock of a process that is gone, and nothing stays behind', async () => {
    const child = spawn(process.execPath, ['-e', '']);
    await once(child, 'exit');
    await files.store.close();
    await writeFile(files.layout.lockFile, JSON.stringify({ pid: child.pid }));
    const next = another();
    await next.acquire();
    expect(await readFile(files.layout.lockFile, 'utf8')).toContain(`"pid":${process.pid}`);
    expect((await readdir(files.directory)).filter((name) => name.startsWith('.lock'))).toEqual(['.lock']);
    await next.release();
  });

  it('does not take a later process with the same number for the holder', async () => {
    const lock = JSON.parse(await readFile(files.layout.lockFile, 'utf8')) as {
      pid: number;
      started?: string;
    };
    await files.store.close();
    // Only Linux tells when a process started; elsewhere the number alone must do.
    const started = lock.started?.replace(/\d+$/, (ticks) => String(Number(ticks) - 1));
    await writeFile(files.layout.lockFile, JSON.stringify({ ...lock, started }));
    const next = another();
    if (started === undefined) await expect(next.acquire()).rejects.toThrow(StoreLockedError);
    else await next.acquire();
    await next.release();
  });

  it.each(['', '{', '{"pid":"1"}', '{"pid":-1}'])(
    'breaks a lock file that says nothing: %j',
    async (text) => {
      await files.store.close();
      await writeFile(files.layout.lockFile, text);
      const next = another();
      await next.acquire();
      await next.release();
    },
  );

  it('lets one of many that start at once win over a dead lock', async () => {
    await files.store.close();
    for (let round = 0; round < 10; round += 1) {
      await writeFile(files.layout.lockFile, '{"pid":4194399}');
      const starters = Array.from({ length: 8 }, another);
      const outcomes = await Promise.allSettled(starters.map((starter) => starter.acquire()));
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      for (const starter of starters) await starter.release();
    }
  });
});
