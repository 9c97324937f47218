import fc from 'fast-check';

import { ChunkMap, chunkCountOf } from '../../domain/chunk-map.js';
import type { Digest } from '../../domain/digest.js';
import type { AvailabilityAnswer, BlobAvailability } from '../availability.js';
import { availabilityAnswerSchema, encodeAvailability } from './availability-wire.js';

const MIB = 1024 * 1024;
const identity = { node: 'node-1', instance: 'a'.repeat(32), platform: 'linux/amd64', protocol: 1 };
const hex64 = fc.stringMatching(/^[0-9a-f]{64}$/);
const digest = hex64.map((hex): Digest => `sha256:${hex}`);

const blob = fc.integer({ min: 0, max: 20 * MIB }).chain((size): fc.Arbitrary<BlobAvailability> => {
  const count = chunkCountOf(size);
  const chunks = fc.uniqueArray(fc.integer({ min: 0, max: Math.max(0, count - 1) })).map((indexes) => {
    const map = new ChunkMap(count);
    if (count > 0) for (const index of indexes) map.add(index);
    return map;
  });
  return fc.record(
    {
      size: fc.constant(size),
      complete: fc.boolean(),
      chunks,
      chunkHashes: fc.array(fc.oneof(hex64, fc.constant('')), { minLength: count, maxLength: count }),
      origin: fc.record({
        state: fc.constantFrom('claimed', 'reading'),
        key: fc.stringMatching(/^[0-9a-f]{32}$/),
      }),
      swarm: fc.array(fc.stringMatching(/^[a-z0-9-]{1,20}$/), { maxLength: 32 }),
      derived: fc.record({ digest, size: fc.nat() }),
    },
    { requiredKeys: ['size', 'complete'] },
  );
});
const answer: fc.Arbitrary<AvailabilityAnswer> = fc
  .tuple(
    fc.array(fc.tuple(digest, blob), { maxLength: 5 }),
    fc.array(fc.constantFrom('10.0.0.1:80', '[fd00::1]:80')),
  )
  .map(([entries, participants]) => ({
    ...identity,
    blobs: new Map(entries),
    participants: participants.slice(0, 64),
  }));

/** Through JSON, as over the wire. */
function carry(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

describe('availability on the wire', () => {
  it('arrives as it was sent', () => {
    fc.assert(
      fc.property(answer, (sent) => {
        expect(availabilityAnswerSchema.parse(carry(encodeAvailability(sent)))).toEqual(sent);
      }),
      { numRuns: 30 },
    );
  });

  it('is parsed or refused, whatever it is', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (value, entry) => {
        availabilityAnswerSchema.safeParse(value);
        const blobs = { [`sha256:${'0'.repeat(64)}`]: entry };
        expect(availabilityAnswerSchema.safeParse({ ...identity, blobs }).success).toBe(true);
      }),
    );
  });

  it('takes a bitmap that fits the size alone', () => {
    fc.assert(
      fc.property(fc.nat(64 * MIB), fc.uint8Array({ maxLength: 16 }), (size, bits) => {
        const chunks = Buffer.from(bits).toString('base64');
        const key: Digest = `sha256:${'0'.repeat(64)}`;
        const { blobs } = availabilityAnswerSchema.parse({
          ...identity,
          blobs: { [key]: { size, complete: false, chunks } },
        });
        expect(blobs.has(key)).toBe(bits.length === Math.ceil(chunkCountOf(size) / 8));
      }),
    );
  });

  it('ignores what later versions add, and leaves out only the blobs that it does not understand', () => {
    const [good, bad]: Digest[] = [`sha256:${'1'.repeat(64)}`, `sha256:${'2'.repeat(64)}`];
    const { blobs } = availabilityAnswerSchema.parse({
      ...identity,
      later: true,
      blobs: { [good!]: { size: 1, complete: true, later: [1] }, [bad!]: { size: 'big' }, nonsense: {} },
    });
    expect([...blobs]).toEqual([[good, { size: 1, complete: true }]]);
  });
});
