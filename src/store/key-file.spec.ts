import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';

import { Logger } from '@nestjs/common';

import { TemporaryStore } from '../../test/support/temporary-store.js';
import { KeyFile } from './key-file.js';

describe('KeyFile', () => {
  const key = Buffer.from([0, 255, 10, ...Array<number>(30).fill(7)]);
  let files: TemporaryStore;
  let file: KeyFile;

  beforeAll(() => {
    Logger.overrideLogger(false);
  });
  beforeEach(async () => {
    files = await TemporaryStore.open();
    file = new KeyFile(files.layout);
  });
  afterEach(() => files.dispose());

  it('gives back after a restart what was saved last, and nobody else may read it', async () => {
    expect(await file.load()).toBeUndefined();
    await file.save(Buffer.alloc(32, 1));
    await file.save(key);
    files = await files.reopen();
    expect(await new KeyFile(files.layout).load()).toEqual(key);
    expect((await stat(files.layout.keyFile)).mode & 0o777).toBe(0o600);
    expect((await stat(files.directory)).mode & 0o777).toBe(0o700);
  });

  it('is written again when it was deleted with the store, and not when it is there', async () => {
    await file.save(key);
    const { ino } = await stat(files.layout.keyFile);
    await file.save(key);
    expect((await stat(files.layout.keyFile)).ino).toBe(ino);
    await rm(files.directory, { recursive: true });
    await file.save(key);
    expect(await readFile(files.layout.keyFile)).toEqual(key);
  });

  it('costs no more than a warning when it cannot be read or written', async () => {
    await mkdir(files.layout.keyFile);
    expect(await file.load()).toBeUndefined();
    await expect(file.save(key)).resolves.toBeUndefined();
    await rm(files.directory, { recursive: true });
    await writeFile(files.directory, 'a file where the folder was');
    await expect(file.save(key)).resolves.toBeUndefined();
  });
});
