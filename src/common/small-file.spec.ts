import { execFile } from 'node:child_process';
import { mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { readSmallFile } from './small-file.js';

describe('readSmallFile', () => {
  let directory: string;
  const at = (name: string): string => join(directory, name);

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'small-file-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  it('reads a file of as many bytes as are accepted, and no longer one', async () => {
    await writeFile(at('file'), 'four');
    expect((await readSmallFile(at('file'), 4)).toString()).toBe('four');
    await expect(readSmallFile(at('file'), 3)).rejects.toMatchObject({ code: 'INVALID_FILE' });
    await truncate(at('file'), 2 ** 40);
    await expect(readSmallFile(at('file'))).rejects.toThrow(`has ${2 ** 40} bytes`);
  });

  it('refuses what is no file, and does not wait for who writes to a FIFO', async () => {
    await promisify(execFile)('mkfifo', [at('fifo')]);
    await symlink(at('loop'), at('loop'));
    for (const path of [at('fifo'), at('loop'), directory, '/dev/zero'])
      await expect(readSmallFile(path)).rejects.toMatchObject({ code: 'INVALID_FILE' });
    await expect(readSmallFile(at('none'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
