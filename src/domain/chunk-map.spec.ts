import fc from 'fast-check';

import { chunkCountOf, ChunkMap, chunkRange, chunkSizeOf } from './chunk-map.js';

const MIB = 1024 * 1024;

describe('chunk arithmetic', () => {
  it.each([
    [0, 1],
    [256 * MIB, 1],
    [256 * MIB + 1, 2],
    [1024 * MIB, 2],
    [1024 * MIB + 1, 4],
    [4096 * MIB, 4],
    [4096 * MIB + 1, 8],
  ])('a blob of %d bytes has chunks of %d MiB', (size, mib) => expect(chunkSizeOf(size)).toBe(mib * MIB));

  it('covers every byte of a blob once, in order', () => {
    fc.assert(
      fc.property(fc.nat(600 * MIB), (size) => {
        let end = 0;
        for (let index = 0; index < chunkCountOf(size); index += 1) {
          const { start, length } = chunkRange(size, index);
          expect(start).toBe(end);
          expect(length).toBeGreaterThan(0);
          end = start + length;
        }
        expect(end).toBe(size);
      }),
      { numRuns: 30 },
    );
  });
});

describe('ChunkMap', () => {
  it('behaves as a set, and survives the wire', () => {
    const operation = fc.tuple(fc.boolean(), fc.nat(99));
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), fc.array(operation), (length, operations) => {
        const map = new ChunkMap(length);
        const model = new Set<number>();
        for (const [add, number] of operations) {
          const index = number % length;
          if (add) map.add(index);
          else map.delete(index);
          if (add) model.add(index);
          else model.delete(index);
        }
        const copy = new ChunkMap(length, map.toBytes());
        expect(copy.size).toBe(model.size);
        for (let index = -1; index <= length; index += 1) expect(copy.has(index)).toBe(model.has(index));
      }),
    );
  });

  it('puts chunk 0 into the lowest bit of the first byte', () => {
    const map = new ChunkMap(9);
    map.add(0);
    map.add(8);
    expect([...map.toBytes()]).toEqual([1, 1]);
  });

  it('does not count bits beyond its end, and refuses chunks outside', () => {
    const map = new ChunkMap(3, Uint8Array.of(0xff));
    expect([map.size, map.has(3)]).toEqual([3, false]);
    for (const index of [-1, 3, 0.5, NaN]) {
      expect(() => map.add(index)).toThrow(RangeError);
      expect(() => map.delete(index)).toThrow(RangeError);
    }
    expect(() => new ChunkMap(9, Uint8Array.of(0))).toThrow('1 bytes do not hold 9 chunks');
  });

  it('shares its bits with nobody', () => {
    const bits = Uint8Array.of(0);
    const map = new ChunkMap(8, bits);
    bits[0] = 1;
    map.toBytes()[0] = 1;
    expect(map.size).toBe(0);
  });
});
