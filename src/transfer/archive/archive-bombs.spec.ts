import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Logger } from '@nestjs/common';

import { dockerArchiveFiles, tarOf, TINY_PLATFORM, tinyImage } from '../../../test/support/tiny-image.js';
import { zeroFrames, zstdOfWindow } from '../../../test/support/zstd-frames.js';
import { systemClock } from '../../common/clock.js';
import { encodeTarHeader } from '../../common/tar/tar-header.js';
import { digestOf } from '../../domain/digest.js';
import type { ArchiveImage } from './archive-image.js';
import { ArchiveIndex } from './archive-index.js';

const SIGNAL = new AbortController().signal;
const MIB = 1024 * 1024;

describe('ArchiveIndex and bombs', () => {
  const good = dockerArchiveFiles(tinyImage(), ['app:v1']);
  let directory: string;
  let index: ArchiveIndex;
  let rssBefore: number;

  beforeAll(() => {
    Logger.overrideLogger(false);
  });
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'mnt-'));
    index = new ArchiveIndex({ mountDir: directory }, systemClock);
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  async function put(name: string, bytes: Buffer): Promise<void> {
    await writeFile(join(directory, name), bytes);
    rssBefore = process.memoryUsage.rss();
  }

  const find = (): Promise<ArchiveImage | undefined> =>
    index.find('docker.io/library/app:v1', TINY_PLATFORM, SIGNAL);

  async function expectPassedOver(...problems: { file: string; reason: unknown }[]): Promise<void> {
    expect(await find()).toBeUndefined();
    expect(index.problems()).toEqual(problems);
    expect(process.memoryUsage.rss() - rssBefore).toBeLessThan(150 * MIB);
  }

  it('ends an archive that unpacks to more than any image has', async () => {
    const header = encodeTarHeader('zeros', 2 ** 40);
    await put('bomb.tar.zst', Buffer.concat(zeroFrames(1100, header)));
    await expectPassedOver({
      file: 'bomb.tar.zst',
      reason: expect.stringMatching(/it is longer than \d+ bytes/),
    });
  }, 120_000);

  it('ends a layer of a docker-archive that does', async () => {
    const manifest = [{ Config: 'config.json', RepoTags: ['app:v1'], Layers: ['layer.tar'] }];
    const rootfs = { type: 'layers', diff_ids: [digestOf(Buffer.alloc(0))] };
    await put(
      'bomb.tar',
      tarOf([
        ['layer.tar', Buffer.concat(zeroFrames(1100))],
        ['config.json', JSON.stringify({ ...TINY_PLATFORM, rootfs })],
        ['manifest.json', JSON.stringify(manifest)],
      ]),
    );
    await expectPassedOver({
      file: 'bomb.tar',
      reason: expect.stringMatching(/unpacks to more than \d+ bytes/),
    });
  }, 120_000);

  it('unpacks no zstd that wants gigabytes of memory, as an archive and as a layer', async () => {
    const files = good.map(([name, bytes]): [string, Buffer] => [
      name,
      name.endsWith('layer.tar') ? zstdOfWindow(31, bytes) : bytes,
    ]);
    await put('archive.tar.zst', zstdOfWindow(31, tarOf(good)));
    await put('layers.tar', tarOf(files));
    await expectPassedOver(
      { file: 'archive.tar.zst', reason: 'it does not unpack' },
      { file: 'layers.tar', reason: 'a layer does not unpack' },
    );
  });

  it('unpacks the largest window that zstd uses by itself', async () => {
    await put('app.tar.zst', zstdOfWindow(25, tarOf(good)));
    expect(await find()).toMatchObject({ archive: 'app.tar.zst' });
  });
});
