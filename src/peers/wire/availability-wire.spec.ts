import fc from 'fast-check';

import { ChunkMap, chunkCountOf, MAX_BLOB_BYTES } from '../../domain/chunk-map.js';
import type { Digest } from '../../domain/digest.js';
import type { AvailabilityAnswer, BlobAvailability } from '../availability.js';
import {
  availabilityAnswerSchema,
  decodeAvailability,
  encodeAvailability,
  encodeKnown,
} from './availability-wire.js';

const MIB = 1024 * 1024;
const identity = { node: 'node-1', instance: 'a'.repeat(32), platform: 'linux/amd64', protocol: 1 };
const KEY: Digest = `sha256:${'1'.repeat(64)}`;
const OTHER_KEY: Digest = `sha256:${'2'.repeat(64)}`;
const HASHES = ['a', 'b'].map((letter) => letter.repeat(64));
const hex64 = fc.stringMatching(/^[0-9a-f]{64}$/);
const digest = hex64.map((hex): Digest => `sha256:${hex}`);

function mapsOf(count: number): fc.Arbitrary<ChunkMap> {
  return fc.uniqueArray(fc.integer({ min: 0, max: Math.max(0, count - 1) })).map((indexes) => {
    const map = new ChunkMap(count);
    if (count > 0) for (const index of indexes) map.add(index);
    return map;
  });
}

const blob = fc.integer({ min: 0, max: 20 * MIB }).chain((size): fc.Arbitrary<BlobAvailability> => {
  const count = chunkCountOf(size);
  const chunks = mapsOf(count);
  return fc.record(
    {
      size: fc.constant(size),
      complete: fc.boolean(),
      chunks,
      sent: chunks,
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

/** As who asked about these blobs reads it. */
function receive(document: unknown, ...digests: Digest[]): AvailabilityAnswer {
  const asked = digests.map((digest) => ({ digest, size: MAX_BLOB_BYTES }));
  return decodeAvailability(availabilityAnswerSchema.parse(document), asked);
}

describe('availability on the wire', () => {
  it('arrives as it was sent at whoever does not say what it knows, as agents before `known` do', () => {
    fc.assert(
      fc.property(answer, (sent) => {
        const document = carry(encodeAvailability(sent, undefined));
        expect(receive(document, ...sent.blobs.keys())).toEqual(sent);
      }),
      { numRuns: 30 },
    );
  });

  it('tells whoever says which hashes it knows the others alone', () => {
    const size = fc.integer({ min: 1, max: 40 * MIB });
    const question = size.chain((bytes) => {
      const count = chunkCountOf(bytes);
      const hashes = fc.array(fc.oneof(hex64, fc.constant('')), { minLength: count, maxLength: count });
      return fc.record({ size: fc.constant(bytes), chunkHashes: hashes, known: mapsOf(count) });
    });
    fc.assert(
      fc.property(digest, question, (key, { size: bytes, chunkHashes, known }) => {
        const sent = { size: bytes, complete: false, chunkHashes };
        const asked = carry(encodeKnown(new Map([[key, known]]), [key])) as Record<string, unknown>;
        const encoded = encodeAvailability(
          { ...identity, blobs: new Map([[key, sent]]), participants: [] },
          asked,
        );
        const received = receive(carry(encoded), key).blobs.get(key);
        const news = chunkHashes.map((hash, index) => (known.has(index) ? '' : hash));
        const isNews = news.some((hash) => hash !== '');
        expect(received).toEqual({ size: bytes, complete: false, ...(isNews ? { chunkHashes: news } : {}) });
      }),
      { numRuns: 50 },
    );
  });

  it('says what is known of the blobs in question alone', () => {
    const [one, other] = [ChunkMap.full(3), ChunkMap.full(9)];
    const known = new Map([
      [KEY, one],
      [OTHER_KEY, other],
    ]);
    expect(encodeKnown(known, [OTHER_KEY])).toEqual({ [OTHER_KEY]: '/wE=' });
    expect(encodeKnown(known, [])).toEqual({});
  });

  it.each([
    ['no text', 7],
    ['a map of another size', Buffer.alloc(9).toString('base64')],
    ['nothing', undefined],
  ])('tells all hashes to whoever says %s', (_, known) => {
    const blobs = new Map([[KEY, { size: 2 * MIB, complete: true, chunkHashes: HASHES }]]);
    const encoded = carry(encodeAvailability({ ...identity, blobs, participants: [] }, { [KEY]: known }));
    expect(encoded).toMatchObject({ blobs: { [KEY]: { chunkHashes: HASHES } } });
  });

  it.each([
    ['a chunk that there is not', 2 * MIB, { 2: HASHES[0] }],
    ['no number', 2 * MIB, { first: HASHES[0] }],
    ['a negative number', 2 * MIB, { '-1': HASHES[0] }],
    ['no hash', 2 * MIB, { 0: 'hash' }],
    ['one chunk of a blob without an end', Number.MAX_SAFE_INTEGER, { 0: HASHES[0] }],
  ])('leaves out a blob whose hashes name %s', (_, size, hashes) => {
    const blobs = { [KEY]: { size, complete: true, hashes }, [OTHER_KEY]: { size: 1, complete: true } };
    const { blobs: received } = receive({ ...identity, blobs }, KEY, OTHER_KEY);
    expect([...received.keys()]).toEqual([OTHER_KEY]);
  });

  it('tells all hashes of a blob too large for a list of some', () => {
    const chunkHashes = Array.from({ length: 8193 }, () => HASHES[0]!);
    const size = chunkHashes.length * 8 * MIB;
    const known = encodeKnown(new Map([[KEY, new ChunkMap(8193)]]), [KEY]);
    const blobs = new Map([[KEY, { size, complete: true, chunkHashes }]]);
    const encoded = encodeAvailability({ ...identity, blobs, participants: [] }, known);
    expect(receive(carry(encoded), KEY).blobs.get(KEY)?.chunkHashes).toEqual(chunkHashes);
  });

  it('is parsed or refused, whatever it is', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (value, entry) => {
        availabilityAnswerSchema.safeParse(value);
        expect(() => receive({ ...identity, blobs: { [KEY]: entry } }, KEY)).not.toThrow();
      }),
    );
  });

  it('takes a bitmap that fits the size alone', () => {
    fc.assert(
      fc.property(fc.nat(64 * MIB), fc.uint8Array({ maxLength: 16 }), (size, bits) => {
        const chunks = Buffer.from(bits).toString('base64');
        const { blobs } = receive({ ...identity, blobs: { [KEY]: { size, complete: false, chunks } } }, KEY);
        expect(blobs.has(KEY)).toBe(bits.length === Math.ceil(chunkCountOf(size) / 8));
      }),
    );
  });

  it('ignores what later versions add, and leaves out only the blobs that it does not understand', () => {
    const said = {
      [KEY]: { size: 1, complete: true, later: [1] },
      [OTHER_KEY]: { size: 'big' },
      nonsense: {},
    };
    const { blobs } = receive({ ...identity, later: true, blobs: said }, KEY, OTHER_KEY);
    expect([...blobs]).toEqual([[KEY, { size: 1, complete: true }]]);
  });

  it('leaves out what was not asked about, and blobs larger than those that were', () => {
    const said = { [KEY]: { size: 3 * MIB, complete: true }, [OTHER_KEY]: { size: 1, complete: true } };
    const answer = availabilityAnswerSchema.parse({ ...identity, blobs: said });
    const asked = (size: number): AvailabilityAnswer => decodeAvailability(answer, [{ digest: KEY, size }]);
    expect([...asked(3 * MIB).blobs.keys()]).toEqual([KEY]);
    expect([...asked(3 * MIB - 1).blobs.keys()]).toEqual([]);
  });

  it.each([
    ['a list of one hash too many', { chunkHashes: [...HASHES, ''] }],
    ['a list of one hash too few', { chunkHashes: HASHES.slice(1) }],
    ['what is no hash', { chunkHashes: [HASHES[0], 1] }],
    ['an object for the list', { chunkHashes: { 0: HASHES[0], 1: HASHES[1], length: 2 } }],
    ['more hashes than there are chunks', { hashes: { 0: HASHES[0], 1: HASHES[0], '01': HASHES[0] } }],
    ['a bitmap with other signs', { chunks: '*w==' }],
    ['33 nodes of a swarm', { swarm: Array.from({ length: 33 }, () => 'n') }],
  ])('leaves out a blob with %s', (_, said) => {
    const blobs = { [KEY]: { size: 2 * MIB, complete: false, ...said } };
    expect(receive({ ...identity, blobs }, KEY).blobs.size).toBe(0);
  });

  it('finds fault with a list once, however many of its items are wrong', () => {
    const participants = Array.from({ length: 1_000 }, () => 1);
    const { error } = availabilityAnswerSchema.safeParse({ ...identity, blobs: {}, participants });
    expect(error?.issues).toHaveLength(1);
  });
});
