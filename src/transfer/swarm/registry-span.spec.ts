import fc from 'fast-check';

import { chunkCountOf, ChunkMap } from '../../domain/chunk-map.js';
import { nextSpan } from './registry-span.js';

const MIB = 1024 * 1024;

describe('nextSpan', () => {
  it('covers what nobody has or brings, once, in runs of at most 32 MiB', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 600 * MIB }),
        fc.array(fc.nat(600), { maxLength: 60 }),
        fc.array(fc.nat(600), { maxLength: 60 }),
        (size, here, elsewhere) => {
          const count = chunkCountOf(size);
          const mine = new ChunkMap(count);
          for (const index of here) if (index < count) mine.add(index);
          const missing = new Set(
            Array.from({ length: count }, (_, index) => index).filter(
              (index) => !mine.has(index) && !elsewhere.includes(index),
            ),
          );
          const isElsewhere = (index: number): boolean => elsewhere.includes(index);
          for (;;) {
            const span = nextSpan({ size, mine, isElsewhere, whole: false });
            if (!span) break;
            expect(span.to - span.from).toBeLessThanOrEqual(32);
            for (let index = span.from; index < span.to; index += 1) {
              expect(missing.delete(index)).toBe(true);
              mine.add(index);
            }
          }
          expect(missing.size).toBe(0);
        },
      ),
    );
  });

  it('takes all the rest at once from a source that sends whole blobs only', () => {
    const mine = new ChunkMap(100);
    mine.add(0);
    const span = nextSpan({ size: 100 * MIB, mine, isElsewhere: () => false, whole: true });
    expect(span).toEqual({ from: 1, to: 100 });
  });

  it('reads a blob of large chunks one at a time, if they are that large', () => {
    const size = 500 * 1024 * MIB;
    const mine = new ChunkMap(chunkCountOf(size));
    expect(nextSpan({ size, mine, isElsewhere: () => false, whole: false })).toEqual({ from: 0, to: 2 });
  });
});
