import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createServer, get, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Writable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';

import fc from 'fast-check';

import { TemporaryStore } from '../../test/support/temporary-store.js';
import { type Digest, digestOf } from '../domain/digest.js';
import type { BlobReader } from './blob-reader.js';

const MIB = 1024 * 1024;
const signal = new AbortController().signal;

/** Keeps every piece as it got it, without a copy, and reads it only when it says that it is done with it. */
class HoldingWritable extends Writable {
  readonly hash = createHash('sha256');
  bytes = 0;

  constructor(highWaterMark: number) {
    super({ highWaterMark });
  }

  override _write(piece: Buffer, _encoding: BufferEncoding, done: () => void): void {
    void this.holdOn(piece, done);
  }

  private async holdOn(piece: Buffer, done: () => void): Promise<void> {
    for (let turns = 0; turns < 5; turns += 1) await setImmediate();
    this.hash.update(piece);
    this.bytes += piece.length;
    done();
  }
}

describe('BlobReader', () => {
  const bytes = randomBytes(3 * MIB + 99);
  const digest = digestOf(bytes);
  let files: TemporaryStore;
  let reader: BlobReader;

  beforeEach(async () => {
    files = await TemporaryStore.open();
    await files.store.putBytes(digest, bytes);
    reader = (await files.store.openBlob(digest))!;
  });
  afterEach(async () => {
    await reader.close();
    await files.dispose();
  });

  async function digestOfStream(start: number, end: number): Promise<Digest> {
    const pieces: Buffer[] = [];
    for await (const piece of reader.stream(start, end, signal)) pieces.push(piece as Buffer);
    return digestOf(Buffer.concat(pieces));
  }

  it('streams any range', async () => {
    expect(reader.size).toBe(bytes.length);
    expect(await digestOfStream(0, bytes.length)).toBe(digest);
    expect(await digestOfStream(0, 0)).toBe(digestOf(Buffer.alloc(0)));
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length), fc.nat(bytes.length), async (one, other) => {
        const [start, end] = [Math.min(one, other), Math.max(one, other)];
        expect(await digestOfStream(start, end)).toBe(digestOf(bytes.subarray(start, end)));
      }),
      { numRuns: 20 },
    );
  });

  it('goes on when the blob is evicted meanwhile', async () => {
    const stream = reader.stream(0, bytes.length, signal);
    const { value: first } = (await stream[Symbol.asyncIterator]().next()) as { value: Buffer };
    expect(first.equals(bytes.subarray(0, first.length))).toBe(true);
    await rm(files.layout.blob(digest));
    expect(await digestOfStream(0, bytes.length)).toBe(digest);
  });

  it('destroys the stream with the reason when told to stop', async () => {
    const controller = new AbortController();
    const stream = reader.stream(0, bytes.length, controller.signal);
    await once(stream, 'readable');
    const reason = new Error('enough');
    controller.abort(reason);
    await expect(stream.toArray()).rejects.toBe(reason);
  });

  it.each([1, 64 * 1024, 8 * MIB])(
    'never touches a buffer that the destination still holds (high-water mark %i)',
    async (highWaterMark) => {
      const destination = new HoldingWritable(highWaterMark);
      await reader.sendTo(destination, 5, bytes.length - 5, signal);
      expect(destination.bytes).toBe(bytes.length - 10);
      const expected = createHash('sha256').update(bytes.subarray(5, bytes.length - 5));
      expect(destination.hash.digest('hex')).toBe(expected.digest('hex'));
      expect(destination.writableEnded).toBe(false);
    },
  );

  it('waits for leave before every piece', async () => {
    const asked: number[] = [];
    const beforePiece = (count: number): void => void asked.push(count);
    await reader.sendTo(new HoldingWritable(1), 0, bytes.length, signal, { beforePiece });
    expect(asked).toEqual([MIB, MIB, MIB, 99]);
    const denied = new Error('no more today');
    const refusing = reader.sendTo(new HoldingWritable(1), 0, 10, signal, {
      beforePiece: () => Promise.reject(denied),
    });
    await expect(refusing).rejects.toBe(denied);
  });

  it('sends in smaller pieces when told so', async () => {
    const asked: number[] = [];
    const destination = new HoldingWritable(1);
    await reader.sendTo(destination, MIB, bytes.length, signal, {
      beforePiece: (count) => void asked.push(count),
      maxPieceBytes: MIB - 1,
    });
    expect(asked).toEqual([MIB - 1, MIB - 1, 101]);
    expect(destination.hash.digest('hex')).toBe(
      createHash('sha256').update(bytes.subarray(MIB)).digest('hex'),
    );
  });

  it('stops waiting for a destination that takes nothing', async () => {
    const stuck = new Writable({ highWaterMark: 1, write: () => undefined });
    const controller = new AbortController();
    const sending = reader.sendTo(stuck, 0, bytes.length, controller.signal);
    await setImmediate();
    const reason = new Error('too slow');
    controller.abort(reason);
    await expect(sending).rejects.toBe(reason);
    const other = new Writable({ highWaterMark: 1, write: () => undefined });
    const failing = reader.sendTo(other, 0, bytes.length, signal);
    await setImmediate();
    other.destroy();
    await expect(failing).rejects.toThrow();
  });

  it('sends over HTTP, and fails when the client goes away midway', async () => {
    const outcome = Promise.withResolvers<unknown>();
    const server = createServer((request, response) => {
      const copies = request.url === '/' ? 1 : 1000;
      void (async () => {
        for (let copy = 0; copy < copies; copy += 1) await reader.sendTo(response, 0, reader.size, signal);
        response.end();
      })().catch(outcome.resolve);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      const [answer] = (await once(get(url), 'response')) as [IncomingMessage];
      expect(digestOf(Buffer.concat(await answer.toArray()))).toBe(digest);
      const request = get(`${url}/leave`);
      const [endless] = (await once(request, 'response')) as [IncomingMessage];
      await once(endless, 'readable');
      request.destroy();
      expect(await outcome.promise).toHaveProperty('message');
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });
});
