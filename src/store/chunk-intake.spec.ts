import { randomBytes } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { setImmediate } from 'node:timers/promises';

import fc from 'fast-check';

import { TemporaryStore } from '../../test/support/temporary-store.js';
import { chunkCountOf, chunkRange } from '../domain/chunk-map.js';
import { digestOf, hexOf } from '../domain/digest.js';
import { ChunkOutrunError } from './chunk-claims.js';
import type { PartialBlob } from './partial-blob.js';

const MIB = 1024 * 1024;
const never = new AbortController().signal;

/** A source that sends `before` at once, and `after` when it is told to. */
class HeldSource {
  private readonly go = Promise.withResolvers<undefined>();
  private readonly asked = Promise.withResolvers<undefined>();

  constructor(
    private readonly before: Uint8Array,
    private readonly after: Uint8Array,
  ) {}

  /** Resolves when `before` was taken. */
  get taken(): Promise<undefined> {
    return this.asked.promise;
  }

  release(): void {
    this.go.resolve(undefined);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    yield this.before;
    this.asked.resolve(undefined);
    await this.go.promise;
    yield this.after;
  }
}

function piecesOf(bytes: Uint8Array, pieceBytes = 60_001): Readable {
  const pieces = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) pieces.push(bytes.subarray(at, at + pieceBytes));
  return Readable.from(pieces);
}

function flipped(bytes: Uint8Array, at = 0): Buffer {
  const wrong = Buffer.from(bytes);
  wrong[at] = (wrong[at] ?? 0) ^ 1;
  return wrong;
}

describe('a partial blob that takes in single chunks', () => {
  const bytes = randomBytes(4 * MIB + 4321);
  const digest = digestOf(bytes);
  const chunkOf = (index: number): Buffer => {
    const { start, length } = chunkRange(bytes.length, index);
    return bytes.subarray(start, start + length);
  };
  const hashOf = (chunk: Uint8Array): string => hexOf(digestOf(chunk));
  let files: TemporaryStore;

  beforeEach(async () => {
    files = await TemporaryStore.open();
  });
  afterEach(() => files.dispose());

  const opened = (): Promise<PartialBlob> => files.store.openPartial(digest, bytes.length);
  const take = (partial: PartialBlob, index: number, sent: Uint8Array = chunkOf(index)): Promise<void> =>
    partial.writeChunk(index, piecesOf(sent), hashOf(chunkOf(index)), never);

  it('has the blob when it has every chunk, in whichever order they came', async () => {
    const partial = await opened();
    const paid: number[] = [];
    for (const index of [4, 1, 3, 0, 2]) {
      await partial.writeChunk(index, piecesOf(chunkOf(index)), hashOf(chunkOf(index)), never, {
        onPiece: (count) => void paid.push(count),
      });
      expect(partial.verified.has(index)).toBe(true);
    }
    expect(paid.reduce((sum, count) => sum + count, 0)).toBe(bytes.length);
    await partial.commit();
    expect(await files.store.verifyAll(never)).toEqual([]);
    expect(await files.store.sizeOf(digest)).toBe(bytes.length);
  });

  it.each([
    ['others', flipped(chunkOf(1), 700_000)],
    ['fewer', chunkOf(1).subarray(1)],
    ['none', Buffer.alloc(0)],
    ['more', Buffer.concat([chunkOf(1), Buffer.from('x')])],
  ])('keeps nothing of a chunk of which %s bytes came', async (_, sent) => {
    const partial = await opened();
    await take(partial, 0);
    await expect(take(partial, 1, sent)).rejects.toMatchObject({ reason: 'corrupt' });
    expect([partial.verified.size, partial.verifiedBytes, partial.prefixBytes]).toEqual([1, MIB, MIB]);
    await take(partial, 1);
    expect(partial.verified.has(1)).toBe(true);
    await partial.discard();
  });

  it('takes a chunk by its length where nobody said its hash, and tells its hash itself', async () => {
    const partial = await opened();
    await partial.writeChunk(4, piecesOf(chunkOf(4)), undefined, never);
    expect(partial.chunkHashes[4]).toBe(hashOf(chunkOf(4)));
    await expect(partial.writeChunk(3, piecesOf(chunkOf(4)), undefined, never)).rejects.toMatchObject({
      reason: 'corrupt',
    });
    await partial.discard();
  });

  it('does not read what would bring a chunk that is there, and says that it came too late', async () => {
    const partial = await opened();
    await take(partial, 2);
    const source = piecesOf(flipped(chunkOf(2)));
    const taking = partial.writeChunk(2, source, hashOf(chunkOf(2)), never);
    await expect(taking).rejects.toThrow(ChunkOutrunError);
    expect(source.readableDidRead).toBe(false);
    await partial.discard();
  });

  it('stops when told to, and lets go of a silent source', async () => {
    const partial = await opened();
    const controller = new AbortController();
    const source = new Readable({ read: () => undefined });
    source.push(chunkOf(0).subarray(0, 1000));
    const taking = partial.writeChunk(0, source, undefined, controller.signal);
    await setImmediate();
    controller.abort(new Error('too slow'));
    await expect(taking).rejects.toThrow('too slow');
    expect(source.destroyed).toBe(true);
    await take(partial, 0);
    await partial.discard();
  });

  describe('when two sources race for one', () => {
    it('takes the first, and ends the other at once, however silent its source is', async () => {
      const partial = await opened();
      const slow = new HeldSource(chunkOf(0).subarray(0, 1000), chunkOf(0).subarray(1000));
      const racing = partial.writeChunk(0, slow, hashOf(chunkOf(0)), never);
      await slow.taken;
      await take(partial, 0);
      await expect(racing).rejects.toThrow(ChunkOutrunError);
      expect(partial.prefixBytes).toBe(MIB);
      await partial.discard();
    });

    it('has one of two that end at once win', async () => {
      const partial = await opened();
      const outcomes = await Promise.allSettled([take(partial, 0), take(partial, 0), take(partial, 0)]);
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      for (const outcome of outcomes)
        if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(ChunkOutrunError);
      expect(partial.verified.has(0)).toBe(true);
      await partial.discard();
    });
  });

  /** Chunks of 2 MiB: the first of them is in the file before the second has come. */
  describe('when one of them lies', () => {
    const size = 300 * MIB;
    const right = randomBytes(2 * MIB);
    const wrong = flipped(right, 5);
    const blob = digestOf(Buffer.from('a blob that is never completed'));
    let partial: PartialBlob;

    beforeEach(async () => {
      partial = await files.store.openPartial(blob, size);
    });
    afterEach(() => partial.discard());

    const held = (content: Uint8Array): HeldSource =>
      new HeldSource(content.subarray(0, 1.5 * MIB), content.subarray(1.5 * MIB));
    const taking = (source: AsyncIterable<Uint8Array>): Promise<void> =>
      partial.writeChunk(0, source, hashOf(right), never);

    async function expectRight(): Promise<void> {
      expect(partial.prefixBytes).toBe(2 * MIB);
      const reader = await files.store.openRange(blob, 0, 2 * MIB);
      expect((await buffer(reader!.stream(0, 2 * MIB, never))).equals(right)).toBe(true);
      await reader!.close();
    }

    it('takes the right bytes from the other, who was there first, and has looked at the file again', async () => {
      const liar = held(wrong);
      const lying = taking(liar);
      await liar.taken;
      await taking(piecesOf(right));
      await expect(lying).rejects.toThrow(ChunkOutrunError);
      liar.release();
      await expectRight();
    });

    it('does not trust what it was written over, nor blame the one whose bytes were right', async () => {
      const honest = held(right);
      const racing = taking(honest);
      await honest.taken;
      await expect(taking(piecesOf(wrong))).rejects.toMatchObject({ reason: 'corrupt' });
      honest.release();
      await expect(racing).rejects.toThrow(ChunkOutrunError);
      expect(partial.verified.has(0)).toBe(false);
      await taking(piecesOf(right));
      await expectRight();
    });

    it('does not trust what it was written over by one that broke off', async () => {
      const honest = held(right);
      const racing = taking(honest);
      await honest.taken;
      async function* broken() {
        yield wrong.subarray(0, 1.5 * MIB);
        await Promise.reject(new Error('connection reset'));
      }
      await expect(taking(broken())).rejects.toThrow('connection reset');
      honest.release();
      await expect(racing).rejects.toThrow(ChunkOutrunError);
      expect(partial.verified.has(0)).toBe(false);
    });

    it('does not let a liar write over the chunk of a stream', async () => {
      const honest = held(right);
      const completed: number[] = [];
      const streaming = partial.write(0, honest, never, { onChunk: (index) => void completed.push(index) });
      await honest.taken;
      await expect(taking(piecesOf(wrong))).rejects.toMatchObject({ reason: 'corrupt' });
      honest.release();
      await streaming;
      expect([partial.verified.size, completed]).toEqual([0, []]);
    });

    it('lets a stream pass over what another brought first, and go on behind it', async () => {
      const next = randomBytes(2 * MIB);
      const liar = new HeldSource(
        wrong.subarray(0, 1.5 * MIB),
        Buffer.concat([wrong.subarray(1.5 * MIB), next]),
      );
      const completed: number[] = [];
      const streaming = partial.write(0, liar, never, { onChunk: (index) => void completed.push(index) });
      await liar.taken;
      // The stream is silent: nobody waits for it.
      await taking(piecesOf(right));
      await expectRight();
      liar.release();
      await streaming;
      expect([partial.verified.size, partial.prefixBytes, completed]).toEqual([2, 4 * MIB, [1]]);
      expect(partial.chunkHashes.slice(0, 2)).toEqual([hashOf(right), hashOf(next)]);
    });

    it('outruns a single chunk when a stream has completed it', async () => {
      const liar = held(wrong);
      const lying = taking(liar);
      await liar.taken;
      const streaming = partial.write(2 * MIB, piecesOf(right), never);
      await streaming;
      const waiting = partial.write(0, piecesOf(right), never);
      await setImmediate();
      expect(partial.verified.has(0)).toBe(false);
      liar.release();
      await expect(lying).rejects.toMatchObject({ reason: 'corrupt' });
      await waiting;
      await expectRightFirst();
    });

    async function expectRightFirst(): Promise<void> {
      const reader = await files.store.openRange(blob, 0, 4 * MIB);
      const content = await buffer(reader!.stream(0, 4 * MIB, never));
      expect(content.equals(Buffer.concat([right, right]))).toBe(true);
      await reader!.close();
    }
  });

  it('commits the right bytes or none, whatever sources bring chunks, streams and lies beside each other', async () => {
    const step = fc.record({
      index: fc.nat(chunkCountOf(bytes.length) - 1),
      kind: fc.constantFrom('chunk', 'liar', 'short', 'stream'),
      pieceBytes: fc.integer({ min: 20_000, max: 2 * MIB }),
      /** Event loop turns before each piece. */
      pace: fc.nat(3),
    });
    async function* paced(source: Readable, pace: number): AsyncGenerator<Uint8Array> {
      for await (const piece of source as AsyncIterable<Uint8Array>) {
        for (let turn = 0; turn < pace; turn += 1) await setImmediate();
        yield piece;
      }
    }
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
        const partial = await opened();
        const lies = new Set<unknown>();
        const outcomes = await Promise.allSettled(
          steps.map(({ index, kind, pieceBytes, pace }) => {
            const chunk = chunkOf(index);
            if (kind === 'stream')
              return partial.write(
                index * MIB,
                paced(piecesOf(bytes.subarray(index * MIB), pieceBytes), pace),
                never,
              );
            const sent = { chunk, liar: flipped(chunk), short: chunk.subarray(0, -1) }[kind];
            const taken = partial.writeChunk(
              index,
              paced(piecesOf(sent, pieceBytes), pace),
              hashOf(chunk),
              never,
            );
            if (kind !== 'chunk') taken.catch((error: unknown) => lies.add(error));
            return taken;
          }),
        );
        for (const outcome of outcomes) {
          if (outcome.status === 'fulfilled' || outcome.reason instanceof ChunkOutrunError) continue;
          expect(outcome.reason).toMatchObject({ reason: 'corrupt' });
          expect(lies.has(outcome.reason)).toBe(true);
        }
        for (let index = 0; index < partial.verified.length; index += 1)
          if (!partial.verified.has(index)) await take(partial, index);
        await partial.commit();
        expect(await files.store.verifyAll(never)).toEqual([]);
        expect(await readdir(files.layout.partials)).toEqual([]);
        await rm(files.layout.blob(digest));
      }),
      { numRuns: 40 },
    );
  }, 60_000);
});
