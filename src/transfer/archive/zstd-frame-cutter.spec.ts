import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { constants, gzipSync, zstdCompressSync } from 'node:zlib';

import fc from 'fast-check';

import { zstdOfWindow } from '../../../test/support/zstd-frames.js';
import { decompress } from './decompress.js';
import { ZstdFrameCutter } from './zstd-frame-cutter.js';

const CONTENTS = [
  Buffer.from('short'),
  Buffer.alloc(0),
  Buffer.alloc(300_000),
  randomBytes(200_000),
  Buffer.from('word '.repeat(70_000)),
];
const checksum = { params: { [constants.ZSTD_c_checksumFlag]: 1 } };
/** Frames of each kind that there is, with what they unpack to. */
const FRAMES: readonly (readonly [frame: Buffer, content: Buffer])[] = [
  ...CONTENTS.map((content) => [zstdCompressSync(content), content] as const),
  ...CONTENTS.map((content) => [zstdCompressSync(content, checksum), content] as const),
  ...CONTENTS.slice(2).map((content) => [zstdOfWindow(20, content), content] as const),
  // Skippable, as pzstd and zstd:chunked write them.
  [Buffer.concat([Buffer.from('5c2a4d1807000000', 'hex'), Buffer.alloc(7, 1)]), Buffer.alloc(0)],
  [Buffer.from('502a4d1800000000', 'hex'), Buffer.alloc(0)],
];

function piecesOf(bytes: Buffer, pieceBytes: number): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) pieces.push(bytes.subarray(at, at + pieceBytes));
  return pieces;
}

describe('ZstdFrameCutter', () => {
  it('has any number of frames unpacked, however they are chunked', async () => {
    const picks = fc.array(fc.nat(FRAMES.length - 1), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(picks, fc.integer({ min: 1, max: 400_000 }), async (order, pieceBytes) => {
        const frames = order.map((at) => FRAMES[at]!);
        const packed = Buffer.concat(frames.map(([frame]) => frame));
        const pieces = piecesOf(packed, Math.max(pieceBytes, packed.length / 1_000));
        const unpacked = await buffer(decompress(Readable.from(pieces), 'zstd'));
        expect(unpacked.equals(Buffer.concat(frames.map(([, content]) => content)))).toBe(true);
      }),
      { numRuns: 40 },
    );
  }, 60_000);

  it('passes every byte on, whatever it is', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.nat(FRAMES.length - 1), async (bytes, at) => {
        const input = Buffer.concat([FRAMES[at]![0], bytes]);
        const cut = Readable.from(piecesOf(input, 1_000)).pipe(new ZstdFrameCutter());
        expect(Buffer.concat((await cut.toArray()) as Buffer[]).equals(input)).toBe(true);
      }),
    );
  });

  it.each([
    ['something else', gzipSync('text')],
    ['a frame that is cut short', zstdCompressSync(randomBytes(1_000)).subarray(0, -1)],
    ['a frame, and then something else', Buffer.concat([zstdCompressSync('text'), randomBytes(100)])],
  ])('leaves it to the decoder to refuse %s', async (_, bytes) => {
    await expect(buffer(decompress(Readable.from([bytes]), 'zstd'))).rejects.toThrow();
  });
});
