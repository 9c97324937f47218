import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { writeFileAtomic } from './atomic-file.js';

describe('writeFileAtomic', () => {
  let directory: string;
  let path: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'atomic-file-'));
    path = join(directory, 'file');
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it('makes or replaces the file with the mode asked for, and leaves nothing beside it', async () => {
    await writeFileAtomic(path, 'one');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await writeFileAtomic(path, Buffer.from('two'), 0o640);
    expect(await readFile(path, 'utf8')).toBe('two');
    expect((await stat(path)).mode & 0o777).toBe(0o640);
    expect(await readdir(directory)).toEqual(['file']);
  });

  it('shows readers the old content or the new, never a part', async () => {
    const contents = ['a', 'b'].map((letter) => letter.repeat(300_000));
    await writeFile(path, contents[0]!);
    const readers = Array.from({ length: 20 }, async () => {
      for (let turn = 0; turn < 10; turn += 1) expect(contents).toContain(await readFile(path, 'utf8'));
    });
    const writers = Array.from({ length: 20 }, (_, turn) => writeFileAtomic(path, contents[turn % 2] ?? ''));
    await Promise.all([...readers, ...writers]);
  });

  it('keeps the old file and no temporary when it fails', async () => {
    await mkdir(path);
    await writeFile(join(path, 'inside'), '');
    await expect(writeFileAtomic(path, 'x')).rejects.toMatchObject({
      code: expect.stringMatching(/EISDIR|ENOTEMPTY|EEXIST/) as string,
    });
    expect(await readdir(directory)).toEqual(['file']);
    await expect(writeFileAtomic(join(directory, 'none', 'file'), 'x')).rejects.toMatchObject({
      code: 'ENOENT',
    });
  });
});
