import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open, readdir, readFile, rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';

import fc from 'fast-check';

import { TemporaryStore } from '../../test/support/temporary-store.js';
import { VirtualClock } from '../../test/support/virtual-clock.js';
import { type Digest, digestOf, hexOf } from '../domain/digest.js';
import { ChunkOutrunError } from './chunk-claims.js';
import type { PartialBlob } from './partial-blob.js';

const MIB = 1024 * 1024;
const signal = new AbortController().signal;

/** `bytes` as a socket would deliver them: in pieces that know nothing of chunks. */
function piecesOf(bytes: Uint8Array, pieceBytes = 60_001): Readable {
  const pieces = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) pieces.push(bytes.subarray(at, at + pieceBytes));
  return Readable.from(pieces);
}

describe('PartialBlob', () => {
  const bytes = randomBytes(4 * MIB + 4321);
  const digest = digestOf(bytes);
  const clock = new VirtualClock();
  let files: TemporaryStore;

  beforeEach(async () => {
    files = await TemporaryStore.open({}, clock);
  });
  afterEach(() => files.dispose());

  function opened(): Promise<PartialBlob> {
    return files.store.openPartial(digest, bytes.length);
  }

  function chunksOf({ verified }: PartialBlob): number[] {
    return Array.from({ length: verified.length }, (_, index) => index).filter((index) =>
      verified.has(index),
    );
  }

  async function expectCommitted(): Promise<void> {
    expect(await files.store.sizeOf(digest)).toBe(bytes.length);
    expect(await files.store.verifyAll(signal)).toEqual([]);
    expect(await readdir(files.layout.partials)).toEqual([]);
    const hashes = [0, 1, 2, 3, 4].map((index) =>
      hexOf(digestOf(bytes.subarray(index * MIB, (index + 1) * MIB))),
    );
    expect((await files.store.describe([digest])).get(digest)).toEqual({
      size: bytes.length,
      complete: true,
      chunkHashes: hashes,
    });
  }

  it('becomes visible only when it is committed, with the hashes of its chunks', async () => {
    const partial = await opened();
    let received = 0;
    await partial.write(0, piecesOf(bytes), signal, { onPiece: (count) => void (received += count) });
    expect(received).toBe(bytes.length);
    expect(partial.prefixBytes).toBe(bytes.length);
    expect(await files.store.sizeOf(digest)).toBeUndefined();
    expect(await readdir(files.layout.blobs)).toEqual([]);
    await partial.commit();
    await expectCommitted();
  });

  it('commits an empty blob', async () => {
    const empty = digestOf(Buffer.alloc(0));
    await (await files.store.openPartial(empty, 0)).commit();
    expect(await files.store.sizeOf(empty)).toBe(0);
  });

  it('takes chunks in any order, and from several sources at once', async () => {
    const partial = await opened();
    await partial.write(3 * MIB, piecesOf(bytes.subarray(3 * MIB)), signal);
    expect([chunksOf(partial), partial.prefixBytes]).toEqual([[3, 4], 0]);
    await Promise.all([
      partial.write(2 * MIB, piecesOf(bytes.subarray(2 * MIB, 3 * MIB), 999), signal),
      partial.write(0, piecesOf(bytes.subarray(0, 2 * MIB), 3 * MIB), signal),
    ]);
    expect(partial.prefixBytes).toBe(bytes.length);
    await partial.commit();
    await expectCommitted();
  });

  it('offers each chunk as soon as it is there', async () => {
    const partial = await opened();
    await partial.write(MIB, piecesOf(bytes.subarray(MIB, 2 * MIB + 5)), signal);
    const described = (await files.store.describe([digest])).get(digest);
    expect(described).toMatchObject({ size: bytes.length, complete: false });
    expect(described?.chunks?.has(1)).toBe(true);
    expect(described?.chunks?.size).toBe(1);
    expect(described?.chunkHashes).toEqual(['', hexOf(digestOf(bytes.subarray(MIB, 2 * MIB))), '', '', '']);
    await partial.discard();
    expect(await files.store.describe([digest])).toEqual(new Map());
  });

  it('refuses a start inside a chunk or outside the blob', async () => {
    const partial = await opened();
    for (const start of [1, MIB - 1, -MIB, 6 * MIB]) {
      await expect(partial.write(start, piecesOf(bytes), signal)).rejects.toThrow(RangeError);
    }
    await partial.close();
  });

  it('refuses more bytes than the blob has, and keeps what was right', async () => {
    const partial = await opened();
    const longer = Buffer.concat([bytes, Buffer.from('x')]);
    await expect(partial.write(0, piecesOf(longer), signal)).rejects.toMatchObject({ reason: 'corrupt' });
    await partial.commit();
    await expectCommitted();
  });

  it('keeps what it has when a source ends early, and goes on from there', async () => {
    const partial = await opened();
    await partial.write(0, piecesOf(bytes.subarray(0, 2 * MIB + 1000)), signal);
    expect(partial.prefixBytes).toBe(2 * MIB);
    await expect(partial.commit()).rejects.toMatchObject({ reason: 'corrupt' });
    await partial.write(partial.prefixBytes, piecesOf(bytes.subarray(2 * MIB)), signal);
    await partial.commit();
    await expectCommitted();
  });

  it('drops everything when the digest is wrong', async () => {
    const partial = await opened();
    const wrong = Buffer.from(bytes);
    wrong[2 * MIB] = (wrong[2 * MIB] ?? 0) ^ 1;
    await partial.write(0, piecesOf(wrong), signal);
    await expect(partial.commit()).rejects.toMatchObject({ reason: 'corrupt' });
    expect(await readdir(files.layout.blobs)).toEqual([]);
    expect(await readdir(files.layout.partials)).toEqual([]);
    expect((await opened()).prefixBytes).toBe(0);
  });

  it('never lets a chunk that is there be overwritten', async () => {
    const partial = await opened();
    await partial.write(0, piecesOf(bytes), signal);
    await partial.write(0, piecesOf(Buffer.alloc(bytes.length)), signal);
    await partial.commit();
    await expectCommitted();
  });

  it('gives a chunk to one source at a time; the next gets it when the first fails', async () => {
    const partial = await opened();
    const failure = new Error('connection reset');
    const fail = Promise.withResolvers<never>();
    async function* broken() {
      yield Buffer.alloc(MIB / 2, 'wrong');
      await fail.promise;
    }
    const first = partial.write(0, broken(), signal);
    await setImmediate();
    const second = partial.write(0, piecesOf(bytes), signal);
    await setImmediate();
    expect(partial.prefixBytes).toBe(0);
    fail.reject(failure);
    await expect(first).rejects.toBe(failure);
    await second;
    await partial.commit();
    await expectCommitted();
  });

  it('stops at once when told to while its source is silent, and lets go of it', async () => {
    const partial = await opened();
    const controller = new AbortController();
    const source = new Readable({ read: () => undefined });
    source.push(bytes.subarray(0, MIB + 10));
    const reason = new Error('no longer wanted');
    const writing = partial.write(0, source, controller.signal);
    while (!partial.verified.has(0)) await setImmediate();
    controller.abort(reason);
    await expect(writing).rejects.toBe(reason);
    await setImmediate();
    expect(source.destroyed).toBe(true);
    expect(chunksOf(partial)).toEqual([0]);
    await partial.discard();
  });

  it('stops waiting for another source when told to', async () => {
    const partial = await opened();
    const controller = new AbortController();
    const silent = new AbortController();
    const source = new Readable({ read: () => undefined });
    source.push(bytes.subarray(0, 10));
    const first = partial.write(0, source, silent.signal);
    await setImmediate();
    const second = partial.write(0, piecesOf(bytes), controller.signal);
    await setImmediate();
    controller.abort(new Error('enough'));
    await expect(second).rejects.toThrow('enough');
    silent.abort(new Error('enough of this too'));
    await expect(first).rejects.toThrow('enough of this too');
    await partial.discard();
  });

  describe('asked for one chunk of several at once', () => {
    const start = MIB;
    const chunk = bytes.subarray(start, start + MIB);
    const wrong = Buffer.alloc(MIB, 'wrong');
    const hash = hexOf(digestOf(chunk));

    /** Sends what it is told to, when it is told to. */
    function told(): Readable {
      return new Readable({ read: () => undefined });
    }

    async function expectRightEnd(partial: PartialBlob): Promise<void> {
      await partial.write(0, piecesOf(bytes), signal);
      await partial.commit();
      await expectCommitted();
    }

    it('takes the first whole one, and sends the others away', async () => {
      const partial = await opened();
      const slow = told();
      slow.push(wrong.subarray(0, MIB / 2));
      const outrun = partial.writeChunk(1, slow, undefined, signal);
      const outcome = expect(outrun).rejects.toBeInstanceOf(ChunkOutrunError);
      await setImmediate();
      await partial.writeChunk(1, piecesOf(chunk), hash, signal).catch((error: unknown) => {
        // The slow one's bytes came last: then nobody's count.
        expect(error).toBeInstanceOf(ChunkOutrunError);
      });
      await outcome;
      await expectRightEnd(partial);
    });

    it('says of one that is there already that it came too late', async () => {
      const partial = await opened();
      await partial.writeChunk(1, piecesOf(chunk), hash, signal);
      const late = partial.writeChunk(1, piecesOf(wrong), undefined, signal);
      await expect(late).rejects.toBeInstanceOf(ChunkOutrunError);
      await expectRightEnd(partial);
    });

    it('looks again at what one that failed meanwhile may have written over', async () => {
      // Its chunks of 2 MiB are written in two parts.
      const partial = await files.store.openPartial(digest, 257 * MIB);
      const right = randomBytes(2 * MIB);
      const slow = told();
      slow.push(right.subarray(0, MIB));
      const first = partial.writeChunk(0, slow, undefined, signal);
      const written = async (): Promise<Buffer> => {
        const file = await open(files.layout.partial(digest));
        const { buffer } = await file.read(Buffer.alloc(MIB), 0, MIB, 0);
        await file.close();
        return buffer;
      };
      while (!(await written()).equals(right.subarray(0, MIB))) await setImmediate();
      const second = partial.writeChunk(0, piecesOf(Buffer.alloc(2 * MIB, 'wrong')), hash, signal);
      await expect(second).rejects.toMatchObject({ reason: 'corrupt' });
      slow.push(right.subarray(MIB));
      slow.push(null);
      await expect(first).rejects.toBeInstanceOf(ChunkOutrunError);
      expect(partial.verified.size).toBe(0);
      await partial.discard();
    });

    it('spoils no chunk that a stream is in the middle of', async () => {
      const partial = await opened();
      const stream = told();
      stream.push(bytes.subarray(0, start + MIB / 2));
      const streaming = partial.write(0, stream, signal);
      while (!partial.verified.has(0)) await setImmediate();
      const beside = partial.writeChunk(1, piecesOf(wrong), hash, signal);
      await expect(beside).rejects.toMatchObject({ reason: 'corrupt' });
      stream.push(bytes.subarray(start + MIB / 2));
      stream.push(null);
      await streaming;
      await partial.commit();
      await expectCommitted();
    });
  });

  it('trusts after a restart only chunks that the record names and whose bytes are still right', async () => {
    const partial = await opened();
    await partial.write(0, piecesOf(bytes.subarray(0, 3 * MIB)), signal);
    await partial.write(4 * MIB, piecesOf(bytes.subarray(4 * MIB)), signal);
    const file = await open(files.layout.partial(digest), 'r+');
    await file.write(Uint8Array.of((bytes[MIB + 77] ?? 0) ^ 1), 0, 1, MIB + 77);
    // Right bytes that no record names: unknown, so not trusted.
    await file.write(bytes, 3 * MIB, MIB, 3 * MIB);
    await file.close();

    files = await files.reopen();
    expect(await files.store.describe([digest])).toEqual(new Map());
    const resumed = await opened();

    expect([chunksOf(resumed), resumed.prefixBytes]).toEqual([[0, 2, 4], MIB]);
    await resumed.write(MIB, piecesOf(bytes.subarray(MIB)), signal);
    await resumed.commit();
    await expectCommitted();
  });

  it('stops reading again when the signal aborts, and keeps what is there for the next attempt', async () => {
    const partial = await opened();
    await partial.write(0, piecesOf(bytes.subarray(0, 3 * MIB)), signal);
    await partial.close();
    const reason = new Error('the agent is told to end');
    const opening = files.store.openPartial(digest, bytes.length, AbortSignal.abort(reason));
    await expect(opening).rejects.toBe(reason);
    const next = await opened();
    expect(next.prefixBytes).toBe(3 * MIB);
    await next.discard();
  });

  it('begins anew when the record is damaged or of another size', async () => {
    const partial = await opened();
    await partial.write(0, piecesOf(bytes.subarray(0, 3 * MIB)), signal);
    await partial.close();
    const other = await files.store.openPartial(digest, bytes.length - 1);
    expect(other.verified.size).toBe(0);
    await other.close();
    expect(await readdir(files.layout.partials)).toEqual([]);
  });

  it('leaves nothing of a blob without a chunk', async () => {
    const partial = await opened();
    await partial.write(0, piecesOf(bytes.subarray(0, MIB - 1)), signal);
    await partial.close();
    expect(await readdir(files.layout.partials)).toEqual([]);
  });

  it('can be closed and discarded again and again, and then be used no more', async () => {
    const partial = await opened();
    await partial.close();
    await partial.close();
    await partial.discard();
    await expect(partial.write(0, piecesOf(bytes), signal)).rejects.toThrow(digest);
    await expect(partial.commit()).rejects.toThrow(digest);
  });

  it('writes its record seldom: at 16 chunks, or at the first after a second', async () => {
    const record = files.layout.partialRecord(digest);
    const partial = await files.store.openPartial(digest, 40 * MIB);
    const chunk = Buffer.alloc(MIB);
    const writeChunks = async (from: number, to: number): Promise<void> => {
      for (let index = from; index < to; index += 1)
        await partial.write(index * MIB, piecesOf(chunk, MIB), signal);
    };
    await writeChunks(0, 15);
    expect(existsSync(record)).toBe(false);
    await writeChunks(15, 16);
    const recorded = async (): Promise<number> =>
      (JSON.parse(await readFile(record, 'utf8')) as { chunks: (string | null)[] }).chunks.filter(Boolean)
        .length;
    // Written beside the transfer, not in its way.
    while (!existsSync(record)) await setImmediate();
    expect(await recorded()).toBe(16);
    await writeChunks(16, 20);
    await clock.advance(1000);
    await writeChunks(20, 21);
    while ((await recorded()) === 16) await setImmediate();
    expect(await recorded()).toBe(21);
    await writeChunks(21, 23);
    await partial.close();
    expect(await recorded()).toBe(23);
  });

  it('fails with a reason when the store is deleted before the commit, and can be fetched again', async () => {
    const partial = await opened();
    await partial.write(0, piecesOf(bytes.subarray(0, 2 * MIB)), signal);
    await rm(files.directory, { recursive: true });
    await partial.write(2 * MIB, piecesOf(bytes.subarray(2 * MIB)), signal);
    await expect(partial.commit()).rejects.toMatchObject({
      reason: 'insufficient_disk',
      message: expect.stringContaining('deleted') as string,
    });
    const again = await opened();
    await again.write(0, piecesOf(bytes), signal);
    await again.commit();
    await expectCommitted();
  });

  it('commits the right bytes or none, whatever order, overlap, damage and restarts', async () => {
    const step = fc.record({
      chunk: fc.integer({ min: 0, max: 4 }),
      length: fc.integer({ min: 1, max: 3 * MIB }),
      pieceBytes: fc.integer({ min: 10_000, max: 2 * MIB }),
      damaged: fc.boolean(),
      restart: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(step, { maxLength: 3 }), { maxLength: 5 }), async (rounds) => {
        let partial = await opened();
        const state = { damaged: false };
        for (const round of rounds) {
          await Promise.all(
            round.map(({ chunk, length, pieceBytes, damaged: wrong }) => {
              const part = Buffer.from(bytes.subarray(chunk * MIB, chunk * MIB + length));
              if (wrong) part[0] = (part[0] ?? 0) ^ 1;
              if (wrong) state.damaged = true;
              return partial.write(chunk * MIB, piecesOf(part, pieceBytes), signal);
            }),
          );
          if (!round.some(({ restart }) => restart)) continue;
          await partial.close();
          partial = await opened();
        }
        await partial.write(partial.prefixBytes, piecesOf(bytes.subarray(partial.prefixBytes)), signal);
        const outcome = await partial.commit().then(
          () => 'committed',
          (error: unknown) => (error as { reason?: string }).reason ?? error,
        );
        await partial.discard();
        if (!state.damaged) expect(outcome).toBe('committed');
        expect(await files.store.verifyAll(signal)).toEqual([]);
        expect(outcome === 'committed').toBe((await files.store.sizeOf(digest)) !== undefined);
        expect(await readdir(files.layout.partials)).toEqual([]);
        await rm(files.layout.blob(digest), { force: true });
      }),
      { numRuns: 40 },
    );
  }, 60_000);

  it('lets go of the blob when it cannot be opened', async () => {
    const evil = 'sha256:..' as Digest;
    await expect(files.store.openPartial(evil, 1)).rejects.toThrow('is not a digest');
    await expect(files.store.openPartial(evil, 1)).rejects.toThrow('is not a digest');
  });
});
