import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';

import { Logger } from '@nestjs/common';

import { digestOf } from '../../src/domain/digest.js';
import { MEDIA_TYPES } from '../../src/domain/manifest.js';
import { describeUnless } from '../support/engines.js';
import { TemporaryStore } from '../support/temporary-store.js';

const MIB = 1024 * 1024;
const DISK_BYTES = 16 * MIB;
const run = promisify(execFile);
const signal = new AbortController().signal;
const cannotMount =
  process.platform === 'linux' && process.getuid?.() === 0
    ? undefined
    : 'mounting a tmpfs needs root on Linux';

describeUnless(cannotMount, 'a store on a disk that gets full', () => {
  let directory: string;
  let files: TemporaryStore;

  beforeAll(() => {
    Logger.overrideLogger(false);
  });
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'store-full-'));
    await run('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', directory]);
    files = await TemporaryStore.open({ directory });
  });
  afterEach(async () => {
    await files.store.close();
    await run('umount', [directory]);
    await rm(directory, { recursive: true });
  });

  async function freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(directory);
    return bavail * bsize;
  }

  /** In pieces, endlessly more than the disk has. */
  function endless(): Readable {
    return Readable.from(
      (function* () {
        for (;;) yield Buffer.alloc(60_000, 1);
      })(),
    );
  }

  it('fails the blob with a reason, frees what it wrote, and goes on', async () => {
    const free = await freeBytes();
    const digest = digestOf(Buffer.from('something large'));
    const partial = await files.store.openPartial(digest, 100 * MIB);
    const full = { reason: 'insufficient_disk', message: expect.stringContaining('no space left') as string };
    await expect(partial.write(0, endless(), signal)).rejects.toMatchObject(full);
    expect(await readdir(files.layout.partials)).toEqual([]);
    expect(await freeBytes()).toBe(free);
    await partial.close();

    await expect(files.store.ingest(endless(), () => true, 100 * MIB, signal)).rejects.toMatchObject(full);
    await expect(
      files.store.putBytes(digestOf(Buffer.alloc(20 * MIB)), Buffer.alloc(20 * MIB)),
    ).rejects.toMatchObject(full);
    expect(await readdir(files.layout.partials)).toEqual([]);
    expect(await freeBytes()).toBe(free);

    const small = randomBytes(MIB);
    await files.store.putBytes(digestOf(small), small);
    expect(await files.store.verifyAll(signal)).toEqual([]);
  });

  it('fails every source that writes the blob, and closes them', async () => {
    const partial = await files.store.openPartial(digestOf(Buffer.from('something large')), 100 * MIB);
    const sources = [endless(), endless()];
    const outcomes = await Promise.allSettled(
      sources.map((source, index) => partial.write(index * 50 * MIB, source, signal)),
    );
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(sources.map(({ destroyed }) => destroyed)).toEqual([true, true]);
    expect(await readdir(files.layout.partials)).toEqual([]);
  });

  it('writes its list of images again once there is space', async () => {
    const filler = join(directory, 'filler');
    await writeFile(filler, Buffer.alloc(DISK_BYTES)).catch(() => undefined);
    const blob = { digest: digestOf(Buffer.from('root')), size: 4 };
    const image = {
      image: 'a/b:1',
      platform: 'linux/amd64',
      root: blob.digest,
      size: 4,
      mediaType: 'x',
      blobs: [blob],
    };
    await expect(files.catalog.add(image)).rejects.toMatchObject({ reason: 'insufficient_disk' });
    await files.records.save(new Map([['a', 'b']]));
    expect((await readdir(directory)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
    await rm(filler);
    await files.catalog.add(image);
    await files.records.save(new Map([['a', 'b']]));
    expect(await files.records.load()).toEqual(new Map([['a', 'b']]));
  });

  it('evicts for MIN_FREE_DISK too, and refuses before a byte is fetched what cannot fit', async () => {
    await files.store.close();
    files = await TemporaryStore.open({ directory, minFree: { fraction: 0.25 } });
    const bytes = randomBytes(6 * MIB);
    const blob = { digest: digestOf(bytes), size: bytes.length };
    await files.store.putBytes(blob.digest, bytes);
    await files.catalog.add({
      image: 'a/b:1',
      platform: 'linux/amd64',
      root: blob.digest,
      mediaType: MEDIA_TYPES.ociManifest,
      size: bytes.length,
      blobs: [blob],
    });
    const other = digestOf(Buffer.from('other'));
    await expect(files.space.pin('c/d:1', [{ digest: other, size: 13 * MIB }])).rejects.toMatchObject({
      reason: 'insufficient_disk',
      message: expect.stringMatching(/needs 13.0 MiB .* leaves 1[12]\.\d MiB/) as string,
    });
    expect(await files.store.sizeOf(blob.digest)).toBe(bytes.length);
    await files.space.pin('c/d:1', [{ digest: other, size: 11 * MIB }]);
    expect(await files.store.sizeOf(blob.digest)).toBeUndefined();
    expect(files.catalog.list()).toEqual([]);
  });

  it("keeps MIN_FREE_DISK on the runtime's disk as well, whether it is the store's or another", async () => {
    const own = await mkdtemp(join(tmpdir(), 'store-'));
    const roomy = await TemporaryStore.open({ directory: own, minFree: { bytes: 4 * MIB } });
    const blob = { digest: digestOf(Buffer.from('layer')), size: MIB };
    try {
      const load = (sizeMib: number) => ({ directory, sizeBytes: sizeMib * MIB });
      await expect(roomy.space.pin('a/b:1', [blob], load(13))).rejects.toMatchObject({
        reason: 'insufficient_disk',
        message: expect.stringMatching(
          /about 13\.0 MiB unpacked, but MIN_FREE_DISK leaves 1[12]\.\d MiB of the 1[56]\.\d MiB free on the disk of /,
        ) as string,
      });
      const pin = await roomy.space.pin('a/b:1', [blob], load(8));
      await expect(roomy.space.pin('c/d:1', [blob], load(8))).rejects.toMatchObject({
        reason: 'insufficient_disk',
      });
      pin.release();
      await roomy.space.pin('c/d:1', [blob], load(8));
      // A directory that this process does not see is no reason to refuse.
      await roomy.space.pin('e/f:1', [blob], { directory: join(own, 'none'), sizeBytes: 2 ** 50 });
    } finally {
      await roomy.dispose();
    }

    await files.store.close();
    files = await TemporaryStore.open({ directory, minFree: { bytes: 4 * MIB } });
    await expect(
      files.space.pin('a/b:1', [blob], { directory, sizeBytes: 11.5 * MIB }),
    ).rejects.toMatchObject({
      reason: 'insufficient_disk',
      message: expect.stringMatching(
        /needs 1\.0 MiB more, and the runtime about 11\.5 MiB, but MIN_FREE_DISK/,
      ) as string,
    });
    await files.space.pin('a/b:1', [blob], { directory, sizeBytes: 9 * MIB });
  });
});
