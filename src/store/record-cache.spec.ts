import { readFile, rm, writeFile } from 'node:fs/promises';

import { Logger } from '@nestjs/common';

import { TemporaryStore } from '../../test/support/temporary-store.js';

describe('RecordCache', () => {
  const records = new Map([
    ['0'.repeat(32), '{"v":1}'],
    ['1'.repeat(32), 'opaque'],
  ]);
  let files: TemporaryStore;

  beforeAll(() => {
    Logger.overrideLogger(false);
  });
  beforeEach(async () => {
    files = await TemporaryStore.open();
  });
  afterEach(() => files.dispose());

  it('gives back after a restart what was saved last', async () => {
    expect(await files.records.load()).toEqual(new Map());
    await files.records.save(new Map([['1', 'first']]));
    await files.records.save(records);
    await files.records.save(records);
    files = await files.reopen();
    expect(await files.records.load()).toEqual(records);
  });

  it.each(['', '[]', '{"a":1}', 'null'])('is empty over a damaged file: %j', async (text) => {
    await writeFile(files.layout.recordsFile, text);
    expect(await files.records.load()).toEqual(new Map());
  });

  it('writes nothing for records that did not change', async () => {
    await files.records.save(records);
    await writeFile(files.layout.recordsFile, '{}');
    await files.records.save(new Map(records));
    expect(await readFile(files.layout.recordsFile, 'utf8')).toBe('{}');
  });

  it('makes the folder when it was deleted, and costs no more than a warning when it cannot', async () => {
    await rm(files.directory, { recursive: true });
    expect(await files.records.save(records)).toBe(true);
    expect(await files.records.load()).toEqual(records);
    await rm(files.directory, { recursive: true });
    await writeFile(files.directory, 'a file where the folder was');
    await expect(files.records.save(new Map([['2', 'other']]))).resolves.toBe(false);
  });
});
