import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { Readable } from 'node:stream';

import { Logger } from '@nestjs/common';

import { TemporaryStore } from '../../test/support/temporary-store.js';
import { VirtualClock } from '../../test/support/virtual-clock.js';
import { type Digest, digestOf } from '../domain/digest.js';
import { MEDIA_TYPES } from '../domain/manifest.js';
import type { SizedBlob } from './catalog-image.js';
import { diskSpaceOf } from './disk-space.js';
import { InsufficientDisk } from './insufficient-disk.js';
import type { Pin } from './store-space.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const MINUTE_MS = 60_000;

describe('StoreSpace', () => {
  let clock: VirtualClock;
  let files: TemporaryStore;

  beforeAll(() => {
    Logger.overrideLogger(false);
  });
  beforeEach(async () => {
    clock = new VirtualClock();
    files = await TemporaryStore.open({ maxSizeBytes: 1000 * KIB }, clock);
  });
  afterEach(() => files.dispose());

  const content = (name: string, sizeKib: number): Buffer => Buffer.alloc(sizeKib * KIB, name);
  const blob = (name: string, sizeKib: number): SizedBlob => ({
    digest: digestOf(content(name, sizeKib)),
    size: sizeKib * KIB,
  });
  const unknownBlob = (name: string, size: number): SizedBlob => ({
    digest: `sha256:${createHash('sha256').update(name).digest('hex')}`,
    size,
  });

  /** Takes an image in as `transfer` does: pin, fetch, enter, release. */
  async function takeIn(image: string, layers: Record<string, number>): Promise<void> {
    const blobs = Object.entries(layers).map(([name, sizeKib]) => blob(name, sizeKib));
    const pin = await files.space.pin(image, blobs);
    for (const [name, sizeKib] of Object.entries(layers)) {
      await files.store.putBytes(blob(name, sizeKib).digest, content(name, sizeKib));
    }
    const { digest, size } = blobs[0]!;
    await files.catalog.add({
      image,
      platform: 'linux/amd64',
      root: digest,
      size,
      mediaType: MEDIA_TYPES.ociManifest,
      blobs,
    });
    pin.release();
    await clock.advance(1000);
  }

  const images = (): string[] => files.catalog.list().map(({ image }) => image);
  const has = async (name: string, sizeKib: number): Promise<boolean> =>
    (await files.store.sizeOf(blob(name, sizeKib).digest)) !== undefined;

  it('evicts the image used longest ago when the store would grow too large', async () => {
    files.space.setListed(new Set(['a', 'b', 'c']));
    await takeIn('a', { base: 100, a: 300 });
    await takeIn('b', { base: 100, b: 300 });
    expect(await files.space.usedBytes()).toBe(700 * KIB);
    await takeIn('c', { c: 400 });
    expect(images()).toEqual(['b', 'c']);
    expect([await has('base', 100), await has('a', 300), await has('b', 300)]).toEqual([true, false, true]);
    expect(await files.space.usedBytes()).toBe(800 * KIB);
  });

  it('evicts an unlisted image before a listed one that was used longer ago', async () => {
    files.space.setListed(new Set(['a', 'c']));
    await takeIn('a', { a: 400 });
    await takeIn('b', { b: 400 });
    await takeIn('c', { c: 400 });
    expect(images()).toEqual(['a', 'c']);
  });

  it('fails with store_full and both numbers, and evicts nothing, when an image cannot fit beside those in use', async () => {
    await takeIn('a', { a: 300 });
    const pin = await files.space.pin('b', [blob('b', 600)]);
    await expect(files.space.pin('c', [blob('c', 500)])).rejects.toMatchObject({
      reason: 'store_full',
      message: expect.stringMatching(/needs 500 KiB .* room for 400 KiB .*STORE_MAX_SIZE 1000 KiB/) as string,
    });
    expect(images()).toEqual(['a']);
    pin.release();
    pin.release();
    await files.space.pin('c', [blob('c', 500)]);
  });

  it('keeps the room of pinned images that did not arrive yet, once for blobs they share', async () => {
    await files.space.pin('a', [blob('base', 500), blob('a', 200)]);
    const pin = await files.space.pin('b', [blob('base', 500), blob('b', 300)]);
    await expect(files.space.pin('c', [blob('c', 1)])).rejects.toMatchObject({ reason: 'store_full' });
    pin.release();
    await files.space.pin('c', [blob('c', 300)]);
  });

  it('lets two that ask at once not both have the same room', async () => {
    const outcomes = await Promise.allSettled([
      files.space.pin('a', [blob('a', 600)]),
      files.space.pin('b', [blob('b', 600)]),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  });

  it('never evicts an image in transfer, nor one that a peer asked for in the last ten minutes', async () => {
    await takeIn('a', { a: 300 });
    await takeIn('b', { b: 300 });
    await takeIn('c', { c: 300 });
    const pin = await files.space.pin('a', [blob('a', 300)]);
    files.space.touch(blob('b', 300).digest);
    await takeIn('d', { d: 300 });
    expect(images()).toEqual(['a', 'b', 'd']);

    files.space.touch(blob('b', 300).digest);
    await clock.advance(11 * MINUTE_MS);
    pin.release();
    await takeIn('e', { e: 300 });
    expect(images()).toEqual(['b', 'd', 'e']);
    // Asked for after "d" came in, "b" was used last.
    await takeIn('f', { f: 300 });
    expect(images()).toEqual(['b', 'e', 'f']);
  });

  it('counts partial blobs by what they take up, and evicts those nobody writes before listed images', async () => {
    files.space.setListed(new Set(['a', 'b']));
    await files.dispose();
    files = await TemporaryStore.open({ maxSizeBytes: 4 * MIB }, clock);
    files.space.setListed(new Set(['a', 'b']));
    await takeIn('a', { a: 300 });
    const partial = await files.store.openPartial(unknownBlob('p', 0).digest, 50 * MIB);
    await partial.write(0, Readable.from([Buffer.alloc(2 * MIB)]), new AbortController().signal);
    expect(await files.space.usedBytes()).toBe(2 * MIB + 300 * KIB);

    const large = unknownBlob('large', 3 * MIB);
    await expect(files.space.pin('b', [large])).rejects.toMatchObject({ reason: 'store_full' });
    await partial.close();
    await files.space.pin('b', [large]);

    expect(await files.space.usedBytes()).toBe(300 * KIB);
    expect(images()).toEqual(['a']);
  });

  it('lets go of a partial blob that is kept for its next writer before it evicts it', async () => {
    await files.dispose();
    files = await TemporaryStore.open({ maxSizeBytes: 4 * MIB }, clock);
    const { signal } = new AbortController();
    const { digest } = unknownBlob('p', 0);
    const partial = await files.store.openPartial(digest, 50 * MIB);
    await partial.write(0, Readable.from([Buffer.alloc(2 * MIB)]), signal);
    await partial.park();

    await files.space.pin('b', [unknownBlob('large', 3 * MIB)]);

    expect([await files.space.usedBytes(), files.store.verifiedBytes(digest)]).toEqual([0, 0]);
    expect(await files.store.openRange(digest, 0, MIB)).toBeUndefined();
    // It begins anew, in a file that has a name.
    const next = await files.store.openPartial(digest, 50 * MIB);
    expect(next.verified.size).toBe(0);
    await next.write(0, Readable.from([Buffer.alloc(MIB)]), signal);
    expect(await files.space.usedBytes()).toBe(MIB);
    await next.discard();
  });

  it('counts being pinned as a use', async () => {
    await takeIn('a', { a: 400 });
    await takeIn('b', { b: 400 });
    (await files.space.pin('a', [blob('a', 400)])).release();
    await takeIn('c', { c: 400 });
    expect(images()).toEqual(['a', 'c']);
  });

  it('asks nothing for what is already there', async () => {
    await takeIn('a', { a: 900 });
    const again = await files.space.pin('a', [blob('a', 900)]);
    again.release();
    expect(images()).toEqual(['a']);
  });

  it('pins no more than it must: a bigger list of blobs replaces a smaller one', async () => {
    const first: Pin = await files.space.pin('a', [blob('root', 1)]);
    await files.space.pin('a', [blob('root', 1), blob('a', 999)]);
    first.release();
    await expect(files.space.pin('b', [blob('b', 1)])).rejects.toMatchObject({ reason: 'store_full' });
  });

  it('gives the room of a pin to the one that takes its place, and leaves it where there is none', async () => {
    const compressed = await files.space.pin('a', [blob('gzip', 600)]);
    await expect(files.space.pin('a', [blob('tar', 900)])).rejects.toMatchObject({ reason: 'store_full' });
    const unpacked = await files.space.pin('a', [blob('tar', 900)], undefined, compressed);
    await expect(files.space.pin('a', [blob('tar', 1100)], undefined, unpacked)).rejects.toMatchObject({
      reason: 'store_full',
    });
    await expect(files.space.pin('b', [blob('b', 200)])).rejects.toMatchObject({ reason: 'store_full' });
    await files.space.pin('b', [blob('b', 100)]);
    // The one that was replaced holds nothing any more.
    compressed.release();
    await expect(files.space.pin('c', [blob('c', 1)])).rejects.toMatchObject({ reason: 'store_full' });
    unpacked.release();
    await files.space.pin('c', [blob('c', 900)]);
  });

  describe('for what the runtime writes itself', () => {
    const mostOfTheDisk = async (): Promise<number> => (await diskSpaceOf(files.directory)).freeBytes * 0.6;

    it('keeps room below MIN_FREE_DISK, for one at a time where both do not fit', async () => {
      const load = { directory: files.directory, sizeBytes: await mostOfTheDisk() };
      const reserved = await files.space.reserve('a', load);
      await expect(files.space.reserve('b', load)).rejects.toMatchObject({
        reason: 'insufficient_disk',
        message: expect.stringMatching(/unpacked, but MIN_FREE_DISK leaves .* of the .* free/) as string,
      });
      reserved.release();
      (await files.space.reserve('b', load)).release();
    });

    it('counts what pinned images still need on the same disk', async () => {
      await files.dispose();
      files = await TemporaryStore.open({}, clock);
      const sizeBytes = await mostOfTheDisk();
      await files.space.pin('a', [unknownBlob('large', sizeBytes)]);
      await expect(files.space.reserve('b', { directory: files.directory, sizeBytes })).rejects.toMatchObject(
        { reason: 'insufficient_disk' },
      );
    });

    it('evicts nothing', async () => {
      await takeIn('a', { a: 900 });
      const { freeBytes } = await diskSpaceOf(files.directory);
      const load = { directory: files.directory, sizeBytes: freeBytes * 2 };
      await expect(files.space.reserve('b', load)).rejects.toMatchObject({ reason: 'insufficient_disk' });
      expect(images()).toEqual(['a']);
    });

    it('cannot guard a disk that it does not see', async () => {
      await files.space.reserve('a', { directory: '/not/here', sizeBytes: 2 ** 52 });
    });
  });

  it('fails with insufficient_disk and both numbers when too little would be left free', async () => {
    await files.dispose();
    files = await TemporaryStore.open({ minFree: { bytes: 2 ** 52 } }, clock);
    await expect(files.space.pin('a', [blob('a', 500)])).rejects.toMatchObject({
      reason: 'insufficient_disk',
      message: expect.stringMatching(/needs 500 KiB .*MIN_FREE_DISK leaves 0 B of the .* free/) as string,
    });
  });

  describe('where little space is left on the disk', () => {
    /** Nine tenths of what is free are to stay: enough for `MIN_FREE_DISK` itself, less than five quarters of it. */
    beforeEach(async () => {
      const { freeBytes } = await diskSpaceOf(files.directory);
      await files.dispose();
      files = await TemporaryStore.open({ minFree: { bytes: freeBytes * 0.9 } }, clock);
    });

    it('shrinks the store before anything new comes', async () => {
      files.space.setListed(new Set(['a', 'b']));
      await takeIn('a', { a: 300 });
      await takeIn('b', { b: 300 });
      expect(images()).toEqual(['b']);
    });

    it('gives up what nobody has needed for ten minutes', async () => {
      files.space.setListed(new Set(['a']));
      await takeIn('a', { a: 300 });
      await files.space.relieve(undefined);
      expect(images()).toEqual(['a']);
      await clock.advance(9 * MINUTE_MS);
      files.space.touch(blob('a', 300).digest);
      await clock.advance(9 * MINUTE_MS);
      await files.space.relieve(undefined);
      expect(images()).toEqual(['a']);
      await clock.advance(2 * MINUTE_MS);
      await files.space.relieve(undefined);
      expect(images()).toEqual([]);
      expect(await has('a', 300)).toBe(false);
    });

    it('leaves what is on its way', async () => {
      await takeIn('a', { a: 300 });
      await clock.advance(20 * MINUTE_MS);
      const pin = await files.space.pin('a', [blob('a', 300)]);
      await clock.advance(20 * MINUTE_MS);
      await files.space.relieve(undefined);
      expect(images()).toEqual(['a']);
      pin.release();
      await files.space.relieve(undefined);
      expect(images()).toEqual([]);
    });

    it('says once, in the log, that it cannot measure the disk of the runtime', async () => {
      const warn = jest.spyOn(Logger.prototype, 'warn');
      await files.space.relieve('/not/here');
      await files.space.relieve('/not/here');
      await files.space.reserve('b', { directory: '/not/here', sizeBytes: 1 });
      expect(warn.mock.calls).toEqual([
        [expect.objectContaining({ directory: '/not/here' }), expect.stringMatching(/not mounted here/)],
      ]);
      warn.mockRestore();
    });
  });

  it('keeps everything while there is enough space on the disk', async () => {
    await takeIn('a', { a: 300 });
    await clock.advance(20 * MINUTE_MS);
    await files.space.relieve(undefined);
    expect(images()).toEqual(['a']);
  });

  it('tells when there is room for what had none', async () => {
    await files.dispose();
    files = await TemporaryStore.open({}, clock);
    const { freeBytes } = await diskSpaceOf(files.directory);
    const failure: unknown = await files.space.pin('a', [unknownBlob('huge', freeBytes + 2 ** 33)]).then(
      () => undefined,
      (error: unknown) => error,
    );
    if (!(failure instanceof InsufficientDisk)) throw new Error('it must not fit');
    expect(await failure.isOver()).toBe(false);
    expect(await new InsufficientDisk('', files.directory, freeBytes - 2 ** 33).isOver()).toBe(true);
  });

  it('forgets images whose blobs were deleted from outside', async () => {
    await takeIn('a', { a: 300 });
    await rm(files.directory, { recursive: true });
    const missing: Digest = blob('a', 300).digest;
    expect(await files.store.sizeOf(missing)).toBeUndefined();
    await takeIn('b', { b: 300 });
    expect(images()).toEqual(['b']);
  });
});
