import fc from 'fast-check';

import { ChunkMap, chunkCountOf, MAX_BLOB_BYTES } from '../../domain/chunk-map.js';
import type { Digest } from '../../domain/digest.js';
import { parseShallowJson } from '../../domain/shallow-json.js';
import type { AskedBlob, BlobAvailability } from '../availability.js';
import { availabilityLimits, HELLO_LIMITS, questionsOf, runtimeLimits } from './answer-limits.js';
import { encodeAvailability, MAX_DIGESTS } from './availability-wire.js';
import { encodeRuntimeAnswer, MAX_IMAGES } from './runtime-wire.js';

const MIB = 1024 * 1024;
const NAME = 'n'.repeat(253);
const HASH = 'f'.repeat(64);
const identity = { node: NAME, instance: HASH.slice(32), platform: 'p'.repeat(100), protocol: 99 };
const digestAt = (index: number): Digest => `sha256:${index.toString(16).padStart(64, '0')}`;
const blobsOf = (...sizes: number[]): AskedBlob[] =>
  sizes.map((size, index) => ({ digest: digestAt(index), size }));

/** All that can be said of a blob, as long as it can be. */
function loquacious(size: number): BlobAvailability {
  const count = chunkCountOf(size);
  return {
    size,
    complete: false,
    chunks: ChunkMap.full(count),
    sent: ChunkMap.full(count),
    chunkHashes: Array.from({ length: count }, () => HASH),
    origin: { state: 'claimed', key: HASH },
    swarm: Array.from({ length: 32 }, () => NAME),
    derived: { digest: digestAt(0), size: MAX_BLOB_BYTES },
  };
}

describe('limits of what peers answer', () => {
  it.each([
    ['whoever says what it knows', true],
    ['agents before that', false],
  ])('leave room for the longest honest answer to %s', (_, saysWhatItKnows) => {
    const sizes = [0, 1, 40 * MIB, 256 * MIB, 4096 * MIB, 65_536 * MIB, MAX_BLOB_BYTES];
    for (const blobs of [blobsOf(...sizes), blobsOf(0), blobsOf(MAX_BLOB_BYTES)]) {
      const known = Object.fromEntries(
        blobs.map(({ digest, size }) => {
          const nothing = new ChunkMap(chunkCountOf(size)).toBytes();
          return [digest, Buffer.from(nothing).toString('base64')];
        }),
      );
      const answer = {
        ...identity,
        blobs: new Map(blobs.map(({ digest, size }) => [digest, loquacious(size)])),
        participants: Array.from({ length: 64 }, () => 'a'.repeat(64)),
      };
      const text = JSON.stringify(encodeAvailability(answer, saysWhatItKnows ? known : undefined));
      const { maxBytes, maxValues } = availabilityLimits(blobs);
      expect(text.length).toBeLessThan(maxBytes);
      expect(() => parseShallowJson(text, maxValues)).not.toThrow();
    }
  });

  it('leave room for a runtime that has all images, and for a hello', () => {
    const images = Array.from({ length: MAX_IMAGES }, (_, at) => `${at}`.padEnd(1024, 'a'));
    const holding = { config: digestAt(1), manifest: digestAt(2) };
    const runtime = encodeRuntimeAnswer(new Map(images.map((image) => [image, holding])));
    const hello = {
      ...identity,
      nonce: 'A'.repeat(43),
      proofs: Array.from({ length: 4 }, () => 'A'.repeat(43)),
    };
    for (const [document, limits] of [
      [runtime, runtimeLimits(MAX_IMAGES)],
      [hello, HELLO_LIMITS],
    ] as const) {
      const text = JSON.stringify(document);
      expect(text.length).toBeLessThan(limits.maxBytes);
      expect(() => parseShallowJson(text, limits.maxValues)).not.toThrow();
    }
  });

  it('part a question so that no answer is longer than 2 MiB, but for a single blob', () => {
    const size = fc.oneof(fc.nat(64 * MIB), fc.nat(65_536 * MIB), fc.nat(MAX_BLOB_BYTES));
    fc.assert(
      fc.property(fc.array(size, { maxLength: 600 }), (sizes) => {
        const blobs = blobsOf(...sizes);
        const questions = questionsOf(blobs);
        expect(questions.flat()).toEqual(blobs);
        for (const question of questions) {
          expect(question.length).toBeLessThan(MAX_DIGESTS);
          if (question.length > 1)
            expect(availabilityLimits(question).maxBytes).toBeLessThan(2 * MIB + 10_000);
        }
      }),
    );
  });

  it('ask once about an image of 120 layers', () => {
    expect(questionsOf(blobsOf(...Array.from({ length: 120 }, () => 40 * MIB)))).toHaveLength(1);
  });
});
