import { randomBytes } from 'node:crypto';
import { open, readdir, rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { setImmediate } from 'node:timers/promises';

import { TemporaryStore } from '../../test/support/temporary-store.js';
import { type Digest, digestOf } from '../domain/digest.js';
import { BlobBusyError } from './blob-busy-error.js';
import type { BlobReader } from './blob-reader.js';
import type { PartialBlob } from './partial-blob.js';

const MIB = 1024 * 1024;
const never = new AbortController().signal;

/** Tells whether `work` is over. */
function overWhen(work: Promise<unknown>): () => boolean {
  let isOver = false;
  const end = (): void => {
    isOver = true;
  };
  work.then(end, end);
  return () => isOver;
}

describe('BlobStore, of partial blobs', () => {
  const bytes = randomBytes(3 * MIB + 1000);
  const digest = digestOf(bytes);
  let files: TemporaryStore;

  beforeEach(async () => {
    files = await TemporaryStore.open();
  });
  afterEach(() => files.dispose());

  const opened = (size = bytes.length): Promise<PartialBlob> => files.store.openPartial(digest, size);
  const fill = (partial: PartialBlob, start: number, end = bytes.length): Promise<void> =>
    partial.write(start, Readable.from([bytes.subarray(start, end)]), never);
  const range = (start: number, end: number): Promise<BlobReader | undefined> =>
    files.store.openRange(digest, start, end);

  async function spoil(): Promise<void> {
    const file = await open(files.layout.partial(digest), 'r+');
    await file.write(Uint8Array.of((bytes[MIB + 77] ?? 0) ^ 1), 0, 1, MIB + 77);
    await file.close();
  }

  async function read(reader: BlobReader | undefined, start: number, end: number): Promise<Buffer> {
    const content = await buffer(reader!.stream(start, end, never));
    await reader!.close();
    return content;
  }

  it('counts the bytes of its chunks, the last of which is short', async () => {
    expect(files.store.verifiedBytes(digest)).toBe(0);
    const partial = await opened();
    expect(partial.verifiedBytes).toBe(0);
    await fill(partial, 3 * MIB);
    expect(partial.verifiedBytes).toBe(1000);
    await fill(partial, 0, MIB);
    expect(files.store.verifiedBytes(digest)).toBe(MIB + 1000);
    await fill(partial, MIB);
    expect(partial.verifiedBytes).toBe(bytes.length);
    await partial.commit();
    expect(files.store.verifiedBytes(digest)).toBe(0);
    const even = await files.store.openPartial(digestOf(Buffer.from('even')), 2 * MIB);
    await even.write(MIB, Readable.from([bytes.subarray(0, MIB)]), never);
    expect(even.verifiedBytes).toBe(MIB);
    await even.discard();
  });

  it('covers a range when every chunk that it touches is there', async () => {
    const partial = await opened();
    await fill(partial, MIB, 2 * MIB);
    await fill(partial, 3 * MIB);
    for (const [start, end] of [
      [MIB, 2 * MIB],
      [MIB + 5, MIB + 6],
      [3 * MIB, bytes.length],
      [3 * MIB + 999, bytes.length],
    ] as const)
      expect(partial.covers(start, end)).toBe(true);
    for (const [start, end] of [
      [MIB - 1, 2 * MIB],
      [MIB, 2 * MIB + 1],
      [0, bytes.length],
      [MIB, MIB],
      [2 * MIB, MIB],
      [-1, 5],
      [3 * MIB, bytes.length + 1],
    ] as const)
      expect(partial.covers(start, end)).toBe(false);
    await partial.discard();
  });

  describe('opens a range', () => {
    it('of verified chunks, and of nothing else', async () => {
      const partial = await opened();
      await fill(partial, MIB, 2 * MIB + 500_000);
      expect(await range(MIB, 2 * MIB + 1)).toBeUndefined();
      expect(await range(0, 1)).toBeUndefined();
      const reader = await range(MIB, 2 * MIB);
      expect(reader?.size).toBe(bytes.length);
      expect((await read(reader, MIB, 2 * MIB)).equals(bytes.subarray(MIB, 2 * MIB))).toBe(true);
      await partial.discard();
      expect(await range(MIB, 2 * MIB)).toBeUndefined();
    });

    it('that can be read to its end when the blob is committed under it, or dropped', async () => {
      for (const end of ['commit', 'discard'] as const) {
        const partial = await opened();
        await fill(partial, 0);
        const reader = await range(0, 2 * MIB);
        await partial[end]();
        expect((await read(reader, 0, 2 * MIB)).equals(bytes.subarray(0, 2 * MIB))).toBe(true);
        await rm(files.layout.blob(digest), { force: true });
      }
    });

    it('at any moment of a commit: the bytes are there before, after and between', async () => {
      const partial = await opened();
      await fill(partial, 0);
      const committing = partial.commit();
      const isOver = overWhen(committing);
      while (!isOver()) {
        const reader = await range(MIB, 2 * MIB);
        expect((await read(reader, MIB, 2 * MIB)).equals(bytes.subarray(MIB, 2 * MIB))).toBe(true);
      }
      await committing;
    });

    it('never of the file of a later attempt', async () => {
      const partial = await opened();
      await fill(partial, 0, 2 * MIB);
      const replacing = partial.discard().then(() => opened());
      const isOver = overWhen(replacing);
      while (!isOver()) {
        const reader = await range(0, MIB);
        if (reader) expect((await read(reader, 0, MIB)).equals(bytes.subarray(0, MIB))).toBe(true);
      }
      await (await replacing).discard();
    });
  });

  it('goes on with a parked one as it stands, without reading it again, and serves it meanwhile', async () => {
    const partial = await opened();
    await fill(partial, MIB, 2 * MIB);
    await partial.park();
    expect(files.store.isBeingWritten(digest)).toBe(false);
    expect(await files.store.hasPartial(digest)).toBe(true);
    expect((await files.store.describe([digest])).get(digest)?.chunks?.has(1)).toBe(true);
    await (await range(MIB, 2 * MIB))?.close();
    // It would be found if the bytes were hashed again.
    await spoil();
    const next = await opened();
    expect(next).toBe(partial);
    expect(next.verified.has(1)).toBe(true);
    await expect(opened()).rejects.toThrow(BlobBusyError);
    await next.discard();
  });

  it('leaves nothing of a parked one without a chunk, and nothing to park of one that has ended', async () => {
    const empty = await opened();
    await empty.park();
    expect(await files.store.hasPartial(digest)).toBe(false);
    expect(await readdir(files.layout.partials)).toEqual([]);
    const partial = await opened();
    await fill(partial, 0);
    await partial.commit();
    await partial.park();
    expect(files.store.verifiedBytes(digest)).toBe(0);
    expect(await files.store.hasPartial(digest)).toBe(false);
  });

  it('reads a parked one again after a restart, and keeps what is right', async () => {
    const partial = await opened();
    await fill(partial, 0, 2 * MIB);
    await fill(partial, 3 * MIB);
    await partial.park();
    await spoil();
    files = await files.reopen();
    expect(files.store.verifiedBytes(digest)).toBe(0);
    expect(await files.store.hasPartial(digest)).toBe(true);
    expect(await range(0, MIB)).toBeUndefined();
    const resumed = await opened();
    expect([...resumed.verified.toBytes()]).toEqual([0b1001]);
    await fill(resumed, MIB);
    await resumed.commit();
    expect(await files.store.verifyAll(never)).toEqual([]);
  });

  it('begins anew when it turns out to have another size, and has one writer all the while', async () => {
    const partial = await opened();
    await fill(partial, 0, MIB);
    await partial.park();
    const opening = opened(2 * MIB);
    const isOver = overWhen(opening);
    while (!isOver()) {
      expect(files.store.isBeingWritten(digest)).toBe(true);
      await expect(opened()).rejects.toThrow(BlobBusyError);
      await setImmediate();
    }
    const next = await opening;
    expect(next.verified.size).toBe(0);
    await next.discard();
  });

  it('releases a parked one, and leaves one that is being written alone', async () => {
    const partial = await opened();
    await fill(partial, 0, MIB);
    await files.store.release(digest);
    expect(partial.verified.size).toBe(1);
    await partial.park();
    const released = files.store.release(digest);
    // Whoever comes now waits until the files are nobody's.
    const next = await opened();
    await released;
    expect(next).not.toBe(partial);
    expect(next.verified.size).toBe(0);
    await fill(next, 0);
    await next.commit();
    expect(await files.store.verifyAll(never)).toEqual([]);
  });

  it('keeps 64 parked ones open, and the others for whoever opens them', async () => {
    const size = 10;
    const contents = Array.from({ length: 70 }, (_, index) => Buffer.alloc(size, index));
    const digests: Digest[] = contents.map((content) => digestOf(content));
    for (const [index, content] of contents.entries()) {
      const partial = await files.store.openPartial(digests[index]!, size);
      await partial.write(0, Readable.from([content]), never);
      await partial.park();
    }
    const known = digests.map((one) => files.store.verifiedBytes(one) > 0);
    expect(known.indexOf(true)).toBe(6);
    expect(known.slice(6).every(Boolean)).toBe(true);
    for (const one of digests) {
      const partial = await files.store.openPartial(one, size);
      expect(partial.verifiedBytes).toBe(size);
      await partial.commit();
    }
    expect(await files.store.verifyAll(never)).toEqual([]);
    expect(await readdir(files.layout.partials)).toEqual([]);
  });
});
