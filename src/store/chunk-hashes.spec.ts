import fc from 'fast-check';

import { chunkCountOf } from '../domain/chunk-map.js';
import { formatChunkHashes, parseChunkHashes } from './chunk-hashes.js';

const MIB = 1024 * 1024;
const hash = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => Buffer.from(bytes).toString('hex'));
const blob = fc.nat(20 * MIB).chain((size) => {
  const count = chunkCountOf(size);
  const hashes = fc.array(fc.option(hash, { nil: undefined }), { minLength: count, maxLength: count });
  return fc.record({ size: fc.constant(size), hashes });
});

describe('parseChunkHashes', () => {
  it('reads back what was written, for a blob of that size only', () => {
    fc.assert(
      fc.property(blob, ({ size, hashes }) => {
        expect(parseChunkHashes(formatChunkHashes(size, hashes), size)).toEqual(hashes);
        expect(parseChunkHashes(formatChunkHashes(size, hashes), size + 1)).toBeUndefined();
      }),
    );
  });

  it('takes nothing from anything else', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        expect(parseChunkHashes(text)).toBeUndefined();
      }),
    );
  });

  it.each([
    ['another version', { v: 2, size: 1, chunks: [null] }],
    ['too few chunks', { v: 1, size: MIB + 1, chunks: [null] }],
    ['a hash that is none', { v: 1, size: 1, chunks: ['xyz'] }],
    ['a negative size', { v: 1, size: -1, chunks: [] }],
    ['a size that is no integer', { v: 1, size: 0.5, chunks: [null] }],
  ])('refuses %s', (_, document) => {
    expect(parseChunkHashes(JSON.stringify(document))).toBeUndefined();
  });
});
