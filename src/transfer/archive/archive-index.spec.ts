import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rename, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { gzipSync, zstdCompressSync } from 'node:zlib';

import { Logger } from '@nestjs/common';
import fc from 'fast-check';

import {
  dockerArchiveFiles,
  ociLayoutFiles,
  tarOf,
  TINY_PLATFORM,
  type TinyImage,
  tinyImage,
} from '../../../test/support/tiny-image.js';
import type { Clock } from '../../common/clock.js';
import { encodeTarHeader } from '../../common/tar/tar-header.js';
import { type Digest, digestOf, hexOf } from '../../domain/digest.js';
import { PreheatFailure } from '../../domain/errors.js';
import { ArchiveIndex } from './archive-index.js';

const SIGNAL = new AbortController().signal;
const NAME = 'docker.io/library/app:v1';
const ARM = { os: 'linux', architecture: 'arm64' };

describe('ArchiveIndex', () => {
  let directory: string;
  let nowMs: number;
  let index: ArchiveIndex;

  beforeAll(() => {
    Logger.overrideLogger(false);
  });
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'mnt-'));
    nowMs = 0;
    // Every look is a fresh one.
    const clock = { monotonicMs: () => (nowMs += 10_000) } as Clock;
    index = new ArchiveIndex({ mountDir: directory }, clock);
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  const put = (name: string, bytes: Buffer): Promise<void> => writeFile(join(directory, name), bytes);

  async function read(digest: Digest, size: number, start = 0): Promise<Buffer> {
    const opened = await index.source().open({ digest, size, mediaType: '' }, { start, end: size }, SIGNAL);
    expect(opened.start).toBe(start);
    return buffer(opened.stream);
  }

  /** Every blob of what is found under the name, checked as the store does. */
  async function expectWhole(name = NAME): Promise<void> {
    const found = await index.find(name, TINY_PLATFORM, SIGNAL);
    if (!found) throw new Error(`${name} was not found: ${JSON.stringify(index.problems())}`);
    for (const { digest, size } of found.blobs) {
      const bytes = await read(digest, size);
      expect(digestOf(bytes)).toBe(digest);
      expect(await read(digest, size, 100)).toEqual(bytes.subarray(100));
    }
  }

  describe.each([
    ['app.tar', (tar: Buffer): Buffer => tar],
    ['app.tar.gz', (tar: Buffer): Buffer => gzipSync(tar)],
    ['app.tar.zst', (tar: Buffer): Buffer => zstdCompressSync(tar)],
  ])('reads %s', (file, pack) => {
    it('in docker-archive form: a manifest derived from the config, layers by diffID', async () => {
      const image = tinyImage();
      await put(file, pack(tarOf(dockerArchiveFiles(image, ['app:v1', 'app:latest']))));
      await expectWhole();
      await expectWhole('docker.io/library/app:latest');
      const found = await index.find(NAME, TINY_PLATFORM, SIGNAL);
      expect(found).toMatchObject({ archive: file, derived: true, config: digestOf(image.config) });
      expect(found?.blobs.slice(2).map(({ digest }) => digest)).toEqual(
        image.layers.map((layer) => digestOf(layer)),
      );
    });

    it('in OCI layout form: by its own digests', async () => {
      const image = tinyImage();
      await put(file, pack(tarOf(ociLayoutFiles(image, [NAME]))));
      await expectWhole();
      expect(await index.find(NAME, TINY_PLATFORM, SIGNAL)).toMatchObject({
        derived: false,
        root: digestOf(image.manifestBytes),
      });
    });
  });

  it('reads an OCI layout folder', async () => {
    const image = tinyImage();
    await putLayout('app', image);
    await expectWhole();
  });

  it('finds by digest and by config, and nothing else', async () => {
    const image = tinyImage();
    await put('app.tar', tarOf(ociLayoutFiles(image, [NAME])));
    const root = digestOf(image.manifestBytes);
    const byDigest = await index.find(`registry.example/other@${root}`, TINY_PLATFORM, SIGNAL);
    expect(byDigest).toMatchObject({ root });
    expect(await index.findByConfig(digestOf(image.config), SIGNAL)).toMatchObject({ manifest: root });
    expect(await index.findByConfig(root, SIGNAL)).toBeUndefined();
    expect(await index.find('docker.io/library/app:v2', TINY_PLATFORM, SIGNAL)).toBeUndefined();
    expect(await index.find(NAME, ARM, SIGNAL)).toBeUndefined();
    const wanted = { digest: root, size: image.manifestBytes.length, mediaType: '' };
    expect(await index.source().has(wanted, SIGNAL)).toBe(true);
    expect(await index.source().has({ ...wanted, size: wanted.size - 1 }, SIGNAL)).toBe(false);
    // Nobody knows a manifest's size before: the most it may have is asked for.
    expect(await read(root, 4 * 1024 * 1024)).toEqual(image.manifestBytes);
    expect(index.problems()).toEqual([]);
  });

  it('unpacks compressed layers of a docker-archive', async () => {
    const image = tinyImage();
    const files = dockerArchiveFiles(image, ['app:v1']).map(([name, bytes]): [string, Buffer] => [
      name,
      name.endsWith('layer.tar') ? gzipSync(bytes) : bytes,
    ]);
    await put('app.tar', tarOf(files));
    await expectWhole();
  });

  it('takes a bare ref.name for the tag that it is', async () => {
    const image = tinyImage();
    const files = ociLayoutFiles(image, []);
    const manifests = [
      {
        mediaType: image.manifest.mediaType,
        digest: digestOf(image.manifestBytes),
        size: image.manifestBytes.length,
        annotations: { 'org.opencontainers.image.ref.name': 'app' },
      },
    ];
    const document = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests }));
    await put(
      'app.tar',
      tarOf(files.map(([name, bytes]) => [name, name === 'index.json' ? document : bytes])),
    );
    expect(await index.find('docker.io/library/app:latest', TINY_PLATFORM, SIGNAL)).toBeUndefined();
    expect(await index.findByConfig(digestOf(image.config), SIGNAL)).toBeDefined();
  });

  it('sees archives come, change and go', async () => {
    expect(await index.find(NAME, TINY_PLATFORM, SIGNAL)).toBeUndefined();
    const first = tinyImage();
    await put('app.tar', tarOf(ociLayoutFiles(first, [NAME])));
    expect(await index.find(NAME, TINY_PLATFORM, SIGNAL)).toMatchObject({ config: digestOf(first.config) });
    const second = tinyImage();
    await put('next', tarOf(ociLayoutFiles(second, [NAME])));
    await rename(join(directory, 'next'), join(directory, 'app.tar'));
    expect(await index.find(NAME, TINY_PLATFORM, SIGNAL)).toMatchObject({ config: digestOf(second.config) });
    await rm(join(directory, 'app.tar'));
    expect(await index.find(NAME, TINY_PLATFORM, SIGNAL)).toBeUndefined();
    expect(index.problems()).toEqual([]);
  });

  it('has none where the directory does not exist', async () => {
    await rm(directory, { recursive: true });
    expect(await index.find(NAME, TINY_PLATFORM, SIGNAL)).toBeUndefined();
  });

  it("passes over a ConfigMap mount's own files, links, and what is deeper", async () => {
    const tar = tarOf(ociLayoutFiles(tinyImage(), [NAME]));
    await mkdir(join(directory, '..2026_01_01'));
    await writeFile(join(directory, '..2026_01_01', 'app.tar'), tar);
    await symlink('..2026_01_01', join(directory, '..data'));
    await symlink('..data/app.tar', join(directory, 'app.tar'));
    await put('..hidden.tar', tar);
    await mkdir(join(directory, 'deeper.tar'));
    await writeFile(join(directory, 'deeper.tar', 'app.tar'), tar);
    expect(await index.find(NAME, TINY_PLATFORM, SIGNAL)).toBeUndefined();
    expect(index.problems()).toEqual([]);
  });

  it('passes over a layout folder whose blobs are elsewhere', async () => {
    const image = tinyImage();
    await putLayout('real', image);
    const elsewhere = await mkdtemp(join(tmpdir(), 'out-'));
    await rename(join(directory, 'real', 'blobs', 'sha256'), join(elsewhere, 'sha256'));
    await symlink(join(elsewhere, 'sha256'), join(directory, 'real', 'blobs', 'sha256'));
    expect(await index.find(NAME, TINY_PLATFORM, SIGNAL)).toBeUndefined();
    expect(index.problems()).toMatchObject([{ file: 'real' }]);
    await rm(elsewhere, { recursive: true });
  });

  it('gives no blob of a layout folder that is a link', async () => {
    const image = tinyImage();
    await putLayout('app', image);
    const blob = join(directory, 'app', 'blobs', 'sha256', hexOf(image.manifest.layers[0]!.digest));
    await rename(blob, join(directory, 'moved'));
    await symlink('../../../moved', blob);
    expect(await index.find(NAME, TINY_PLATFORM, SIGNAL)).toBeUndefined();
    expect(index.problems()).toMatchObject([
      { file: 'app', reason: expect.stringMatching(/is not there/) as string },
    ]);
  });

  const image = tinyImage();
  const good = dockerArchiveFiles(image, ['app:v1']);
  it.each<[string, () => Buffer]>([
    ['is empty', () => Buffer.alloc(0)],
    ['is no tar', () => randomBytes(5000)],
    ['holds no image', () => tarOf([['readme', 'hello']])],
    ['has ../ entries', () => tarOf([...good, ['../../etc/passwd', 'root']])],
    ['has absolute entries', () => tarOf([...good, ['/etc/passwd', 'root']])],
    ['has a file twice', () => tarOf([...good, good[0]!])],
    ['is cut short', () => tarOf(good).subarray(0, 3000)],
    ['is a cut gzip', () => gzipSync(tarOf(good)).subarray(0, 2000)],
    ['is a cut zstd', () => zstdCompressSync(tarOf(good)).subarray(0, 2000)],
    [
      'has a lying size',
      () => Buffer.concat([encodeTarHeader('manifest.json', 2 ** 45), Buffer.alloc(1000)]),
    ],
    ['has a huge manifest.json', () => tarOf([['manifest.json', Buffer.alloc(4 * 1024 * 1024 + 1, ' ')]])],
    ['has a manifest.json that is not JSON', () => tarOf([['manifest.json', '{']])],
    [
      'has a manifest.json of a million numbers',
      () => tarOf([['manifest.json', `[${'1,'.repeat(1_000_000)}1]`]]),
    ],
    ['names a config outside', () => tarOf([manifestJson('../../etc/passwd', [])])],
    ['lacks a layer', () => tarOf(good.slice(1))],
    ['has fewer layers than its config', () => tarOf([good[2]!, manifestJson(good[2]![0], [])])],
    ['has a config that is none', () => tarOf([['c', '[]'], manifestJson('c', [])])],
    [
      'has an index.json that names what is not there',
      () => tarOf(ociLayoutFiles(image, [NAME]).slice(0, 2)),
    ],
    [
      'has a manifest with another digest',
      () =>
        tarOf(
          ociLayoutFiles(image, [NAME]).map(([name, bytes], at) => [
            name,
            at === 2 ? Buffer.from('{}') : bytes,
          ]),
        ),
    ],
  ])('passes over and reports once an archive that %s', async (_what, bytes) => {
    await put('bad.tar', bytes());
    await put('good.tar', tarOf(ociLayoutFiles(tinyImage(), ['docker.io/library/good:1'])));
    expect(await index.find(NAME, TINY_PLATFORM, SIGNAL)).toBeUndefined();
    expect(await index.find(NAME, TINY_PLATFORM, SIGNAL)).toBeUndefined();
    expect(index.problems()).toMatchObject([{ file: 'bad.tar' }]);
    await expectWhole('docker.io/library/good:1');
  });

  it('passes over an image of which a blob is missing, and still gives the others', async () => {
    const files = ociLayoutFiles(image, [NAME]);
    await put('app.tar', tarOf(files.slice(0, -1)));
    expect(await index.find(NAME, TINY_PLATFORM, SIGNAL)).toBeUndefined();
    expect(index.problems()).toMatchObject([{ file: 'app.tar' }]);
    const [layer] = image.manifest.layers;
    expect(await index.source().has(layer!, SIGNAL)).toBe(true);
  });

  it('breaks the stream of a layer that is not what the config says, and passes the archive over', async () => {
    const files = good.map(([name, bytes], at): [string, Buffer] => [
      name,
      at === 0 ? Buffer.from(bytes).fill(1, 600, 700) : bytes,
    ]);
    await put('app.tar', tarOf(files));
    const found = await index.find(NAME, TINY_PLATFORM, SIGNAL);
    const layer = found!.blobs[2]!;
    await expect(read(layer.digest, layer.size)).rejects.toMatchObject({ reason: 'archive_invalid' });
    expect(await index.find(NAME, TINY_PLATFORM, SIGNAL)).toBeUndefined();
    expect(index.problems()).toHaveLength(1);
  });

  it('breaks a stream whose file has changed since', async () => {
    await put('app.tar', tarOf(good));
    const found = await index.find(NAME, TINY_PLATFORM, SIGNAL);
    const layer = found!.blobs[2]!;
    const source = index.source();
    const has = await source.has(layer, SIGNAL);
    expect(has).toBe(true);
    nowMs -= 30_000; // no look in between
    await truncate(join(directory, 'app.tar'), 2000);
    await utimes(join(directory, 'app.tar'), 1, 1);
    await expect(source.open(layer, { start: 0, end: layer.size }, SIGNAL)).rejects.toBeInstanceOf(
      PreheatFailure,
    );
  });

  it('stops indexing when it is aborted, and goes on at the next call', async () => {
    await put('app.tar', tarOf(good));
    const aborted = AbortSignal.abort(new Error('stop'));
    await expect(index.find(NAME, TINY_PLATFORM, aborted)).rejects.toThrow('stop');
    await expectWhole();
    expect(index.problems()).toEqual([]);
  });

  it('reports a stale archive once, by the name it has', async () => {
    await put('app.tar', tarOf(good));
    const trusted: Digest = `sha256:${createHash('sha256').update('other').digest('hex')}`;
    await index.reportStale(NAME, trusted, digestOf(image.config), SIGNAL);
    expect(index.problems()).toEqual([]);
    await index.reportStale(NAME, trusted, trusted, SIGNAL);
    await index.reportStale(NAME, trusted, trusted, SIGNAL);
    expect(index.problems()).toMatchObject([{ file: 'app.tar' }]);
  });

  it('never gives a wrong byte or an error of another kind, whatever was changed in the file', async () => {
    const tar = tarOf(good);
    await fc.assert(
      fc.asyncProperty(
        fc.nat(tar.length - 1),
        fc.integer({ min: 1, max: 255 }),
        fc.boolean(),
        async (at, change, packed) => {
          const bytes = Buffer.from(tar);
          bytes[at] = (bytes[at] ?? 0) ^ change;
          await put('app.tar', packed ? gzipSync(bytes) : bytes);
          const found = await index.find(NAME, TINY_PLATFORM, SIGNAL);
          for (const { digest, size } of found?.blobs ?? []) {
            const wrong = await read(digest, size).then(
              (data) => digestOf(data) !== digest,
              (error: unknown) => {
                expect(error).toMatchObject({ reason: 'archive_invalid' });
                return false;
              },
            );
            expect(wrong).toBe(false);
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  async function putLayout(name: string, tiny: TinyImage): Promise<void> {
    await mkdir(join(directory, name, 'blobs', 'sha256'), { recursive: true });
    for (const [path, bytes] of ociLayoutFiles(tiny, [NAME]))
      await writeFile(join(directory, name, path), bytes);
  }
});

function manifestJson(config: string, layers: readonly string[]): [string, Buffer] {
  return [
    'manifest.json',
    Buffer.from(JSON.stringify([{ Config: config, RepoTags: ['app:v1'], Layers: layers }])),
  ];
}
