import { execFile } from 'node:child_process';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { createGzip, createZstdCompress } from 'node:zlib';

import { Logger } from '@nestjs/common';

import { systemClock } from '../../src/common/clock.js';
import type { Digest } from '../../src/domain/digest.js';
import { platformOfProcess } from '../../src/domain/platform.js';
import type { ArchiveImage } from '../../src/transfer/archive/archive-image.js';
import { ArchiveIndex } from '../../src/transfer/archive/archive-index.js';
import { DockerEngine } from '../support/docker-engine.js';
import { describeWith } from '../support/engines.js';
import { writeDockerArchive, writeOciArchive, writeOciLayout } from '../support/image-archive.js';
import { type BuiltImage, ImageBuilder } from '../support/image-builder.js';
import { TemporaryStore } from '../support/temporary-store.js';

const PLATFORM = platformOfProcess(process.platform, process.arch);
const SIGNAL = new AbortController().signal;
const NAME = 'docker.io/library/app:v1';
const run = promisify(execFile);

let builder: ImageBuilder;
let image: BuiltImage;
let directory: string;

beforeAll(async () => {
  Logger.overrideLogger(false);
  builder = await ImageBuilder.create();
  const layer = { sizeBytes: 4_000_000 };
  // Twice the same layer: docker save up to 24 writes the second one as a link.
  image = await builder.image({
    layers: [
      { seed: 'one', ...layer },
      { seed: 'two', ...layer },
      { seed: 'one', ...layer },
    ],
  });
});
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mnt-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));
afterAll(() => builder.dispose());

/** Finds the image and reads all of it into a store, which checks every digest. */
async function readWhole(): Promise<ArchiveImage> {
  const index = new ArchiveIndex({ mountDir: directory }, systemClock);
  const found = await index.find(NAME, PLATFORM, SIGNAL);
  if (!found) throw new Error(`not found: ${JSON.stringify(index.problems())}`);
  const files = await TemporaryStore.open();
  try {
    for (const blob of found.blobs) {
      const { stream } = await index.source().open(blob, { start: 0, end: blob.size }, SIGNAL);
      const isRight = (digest: Digest): boolean => digest === blob.digest;
      expect(await files.store.ingest(stream, isRight, blob.size, SIGNAL)).toMatchObject({
        digest: blob.digest,
      });
    }
  } finally {
    await files.dispose();
  }
  expect(index.problems()).toEqual([]);
  expect(found.config).toBe(image.images[0]!.config.digest);
  return found;
}

describe('an archive in MOUNT_DIR', () => {
  it('is read in docker-archive form', async () => {
    await writeDockerArchive(image, join(directory, 'app.tar'), ['app:v1']);
    expect(await readWhole()).toMatchObject({ derived: true });
  });

  it('is read in OCI form, as tar and as folder', async () => {
    await writeOciArchive(image, join(directory, 'app.tar'), [NAME]);
    expect(await readWhole()).toMatchObject({ derived: false, root: image.root.digest });
    await rm(join(directory, 'app.tar'));
    await writeOciLayout(image, join(directory, 'app'), [NAME]);
    expect(await readWhole()).toMatchObject({ derived: false, root: image.root.digest });
  });

  it.each([
    ['gz', createGzip],
    ['zst', createZstdCompress],
  ])('is read as .tar.%s', async (suffix, compress) => {
    const tar = join(directory, 'app');
    await writeDockerArchive(image, tar, ['app:v1']);
    await pipeline(
      createReadStream(tar),
      compress(),
      createWriteStream(join(directory, `app.tar.${suffix}`)),
    );
    expect(await readWhole()).toMatchObject({ archive: `app.tar.${suffix}` });
  });

  it('keeps a 1 GiB layer out of memory', async () => {
    const layers = [{ seed: 'large', sizeBytes: 1024 ** 3, compressible: 1, compression: 'none' as const }];
    const large = await builder.image({ layers });
    await writeOciArchive(large, join(directory, 'app.tar'), [NAME]);
    const index = new ArchiveIndex({ mountDir: directory }, systemClock);
    const found = await index.find(NAME, PLATFORM, SIGNAL);
    const blob = found!.blobs.find(({ size }) => size > 1024 ** 3)!;
    const before = process.memoryUsage().rss;
    let peak = before;
    const { stream } = await index.source().open(blob, { start: 0, end: blob.size }, SIGNAL);
    let bytes = 0;
    for await (const piece of stream as AsyncIterable<Buffer>) {
      bytes += piece.length;
      peak = Math.max(peak, process.memoryUsage.rss());
    }
    expect(bytes).toBe(blob.size);
    expect(peak - before).toBeLessThan(100 * 1024 * 1024);
  }, 120_000);
});

describeWith('skopeo', 'an archive written by skopeo', () => {
  it.each(['docker-archive', 'oci-archive', 'oci'])('is read in the form %s', async (form) => {
    const layout = join(directory, '..layout');
    await writeOciLayout(image, layout, [NAME]);
    const target = join(directory, form === 'oci' ? 'app' : 'app.tar');
    await run('skopeo', [
      '--insecure-policy',
      'copy',
      '--quiet',
      `oci:${layout}:${NAME}`,
      `${form}:${target}:${NAME}`,
    ]);
    await readWhole();
  });
});

describeWith('dockerd', 'an archive written by docker save', () => {
  it('is read, a repeated layer too', async () => {
    const engine = await DockerEngine.start();
    try {
      const tar = join(directory, 'loaded');
      await writeDockerArchive(image, tar, ['app:v1']);
      const answer = await engine.client.loadImage(tar);
      for await (const part of answer as AsyncIterable<Buffer>)
        expect(part.toString()).not.toContain('errorDetail');
      await pipeline(
        await engine.client.getImage('app:v1').get(),
        createWriteStream(join(directory, 'app.tar')),
      );
      expect(await readWhole()).toMatchObject({ derived: true });
    } finally {
      await engine.stop();
    }
  }, 60_000);
});
