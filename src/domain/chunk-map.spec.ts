import fc from 'fast-check';

import { chunkAt, chunkCountOf, ChunkMap, chunkRange, chunkSizeOf } from './chunk-map.js';

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

describe('chunkAt', () => {
  const size = fc.integer({ min: 1, max: 5000 * MIB });

  it('knows every chunk by its bytes', () => {
    fc.assert(
      fc.property(size, fc.nat(), (blobSize, number) => {
        const index = number % chunkCountOf(blobSize);
        const { start, length } = chunkRange(blobSize, index);
        expect(chunkAt(blobSize, start, start + length)).toBe(index);
      }),
    );
  });

  it('takes nothing else for a chunk', () => {
    const shift = fc.integer({ min: -MIB, max: MIB });
    fc.assert(
      fc.property(size, fc.nat(), shift, shift, (blobSize, number, first, last) => {
        const { start, length } = chunkRange(blobSize, number % chunkCountOf(blobSize));
        const [from, to] = [start + first, start + length + last];
        const index = chunkAt(blobSize, from, to);
        if (index === undefined) return;
        expect(chunkRange(blobSize, index)).toEqual({ start: from, length: to - from });
      }),
    );
    for (const [start, end] of [
      [-MIB, 0],
      [3 * MIB, 4 * MIB],
      [2.5 * MIB, 3 * MIB],
      [0, 2 * MIB],
      [NaN, NaN],
    ] as const)
      expect(chunkAt(2.5 * MIB, start, end)).toBeUndefined();
    expect(chunkAt(0, 0, 0)).toBeUndefined();
  });
});

describe('ChunkMap', () => {
  /** A map of `length` chunks, and the same as a set. */
  const pair = fc
    .integer({ min: 0, max: 70 })
    .chain((length) =>
      fc.tuple(indexesBelow(length), indexesBelow(length)).map(([one, other]) => ({ length, one, other })),
    );

  it('is full with every chunk, and with no bit more', () => {
    fc.assert(
      fc.property(fc.nat(70), (length) => {
        const full = ChunkMap.full(length);
        expect([full.size, full.isFull, full.has(length)]).toEqual([length, true, false]);
        for (let index = 0; index < length; index += 1) full.delete(index);
        expect([full.size, [...full.toBytes()].every((byte) => byte === 0)]).toEqual([0, true]);
        expect(full.isFull).toBe(length === 0);
      }),
    );
  });

  it('counts each chunk that is there, and no bit beyond its end', () => {
    fc.assert(
      fc.property(pair, ({ length, one, other }) => {
        const counts = new Uint16Array(length);
        for (const indexes of [one, other, one]) mapOf(length, indexes).tally(counts);
        const expected = Array.from(
          { length },
          (_, index) => (one.has(index) ? 2 : 0) + (other.has(index) ? 1 : 0),
        );
        expect([...counts]).toEqual(expected);
      }),
    );
    const counts = new Uint16Array(8);
    new ChunkMap(3, Uint8Array.of(0xff)).tally(counts);
    expect([...counts]).toEqual([1, 1, 1, 0, 0, 0, 0, 0]);
  });

  it('has more than another where any chunk is not in that one', () => {
    fc.assert(
      fc.property(pair, ({ length, one, other }) => {
        const expected = [...one].some((index) => !other.has(index));
        expect(mapOf(length, one).hasMoreThan(mapOf(length, other))).toBe(expected);
      }),
    );
    expect(new ChunkMap(3, Uint8Array.of(0xff)).hasMoreThan(ChunkMap.full(3))).toBe(false);
  });

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

function indexesBelow(length: number): fc.Arbitrary<ReadonlySet<number>> {
  if (length === 0) return fc.constant(new Set());
  return fc.array(fc.nat(length - 1)).map((indexes) => new Set(indexes));
}

function mapOf(length: number, indexes: Iterable<number>): ChunkMap {
  const map = new ChunkMap(length);
  for (const index of indexes) map.add(index);
  return map;
}
