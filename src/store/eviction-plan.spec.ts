import fc from 'fast-check';

import type { Digest } from '../domain/digest.js';
import type { CatalogImage } from './catalog-image.js';
import { type EvictionInput, planEviction } from './eviction-plan.js';

const digest = (name: number): Digest => `sha256:${String(name).padStart(64, '0')}`;

function image(name: string, lastUsedMs: number, blobs: readonly number[]): CatalogImage {
  return {
    image: name,
    platform: 'linux/amd64',
    root: digest(blobs[0] ?? 0),
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    size: 1,
    blobs: blobs.map((blob) => ({ digest: digest(blob), size: 1 })),
    lastUsedMs,
  };
}

function input(images: readonly CatalogImage[], settings: Partial<EvictionInput> = {}): EvictionInput {
  const onDisk = new Map(images.flatMap(({ blobs }) => blobs.map((blob) => [blob.digest, 10] as const)));
  return { onDisk, images, isHeld: () => false, pinned: new Set(), listed: new Set(), ...settings };
}

describe('planEviction', () => {
  const old = image('old', 1, [1, 2]);
  const young = image('young', 2, [3, 4]);
  const unlisted = image('unlisted', 9, [5]);
  const listed = new Set(['old', 'young']);

  it('evicts nothing when nothing is to be freed', () => {
    expect(planEviction(input([old]), 0)).toEqual({ images: [], digests: [], freedBytes: 0 });
  });

  it('takes unlisted images first, however lately used, then orphans, then listed ones by last use', () => {
    const images = [young, unlisted, old];
    const given = input(images, { listed });
    const onDisk = new Map(given.onDisk).set(digest(7), 10);
    const evicted = (bytes: number) => {
      const plan = planEviction({ ...given, onDisk }, bytes);
      return [...plan.images.map((entry) => entry.image), plan.digests.length, plan.freedBytes];
    };
    expect(evicted(1)).toEqual(['unlisted', 1, 10]);
    expect(evicted(11)).toEqual(['unlisted', 2, 20]);
    expect(evicted(21)).toEqual(['unlisted', 'old', 4, 40]);
    expect(evicted(1e9)).toEqual(['unlisted', 'old', 'young', 6, 60]);
  });

  it('frees a shared blob with the last image that has it', () => {
    const sharing = [image('first', 1, [1, 2, 2]), image('second', 2, [1, 3])];
    expect(planEviction(input(sharing), 1).digests).toEqual([digest(2)]);
    expect(planEviction(input(sharing), 11).digests).toEqual([digest(2), digest(1), digest(3)]);
  });

  it('never frees pinned blobs nor images that are held', () => {
    const plan = planEviction(
      input([old, young], { pinned: new Set([digest(1)]), isHeld: (entry) => entry === young }),
      1e9,
    );
    expect(plan).toEqual({ images: [old], digests: [digest(2)], freedBytes: 10 });
  });

  it('keeps every blob of every image that stays, and frees enough or all that it may', () => {
    const images = fc.array(
      fc.record({
        name: fc.integer({ min: 0, max: 5 }),
        lastUsedMs: fc.nat(5),
        blobs: fc.array(fc.nat(9), { minLength: 1, maxLength: 5 }),
        held: fc.boolean(),
        listed: fc.boolean(),
      }),
      { maxLength: 6 },
    );
    fc.assert(
      fc.property(images, fc.array(fc.nat(12)), fc.nat(150), (specs, pinnedBlobs, bytes) => {
        const all = specs.map(({ name, lastUsedMs, blobs }) => image(`image${name}`, lastUsedMs, blobs));
        const held = new Set(all.filter((_, index) => specs[index]?.held));
        const pinned = new Set(pinnedBlobs.map(digest));
        const onDisk = new Map(Array.from({ length: 13 }, (_, index) => [digest(index), 10] as const));
        const given: EvictionInput = {
          onDisk,
          images: all,
          isHeld: (entry) => held.has(entry),
          pinned,
          listed: new Set(specs.filter((spec) => spec.listed).map(({ name }) => `image${name}`)),
        };
        const plan = planEviction(given, bytes);
        const kept = all.filter((entry) => !plan.images.includes(entry));
        const needed = new Set(kept.flatMap(({ blobs }) => blobs.map((blob) => blob.digest)));
        expect(plan.digests.filter((gone) => needed.has(gone) || pinned.has(gone))).toEqual([]);
        expect(plan.images.filter((entry) => held.has(entry))).toEqual([]);
        expect(new Set(plan.digests).size).toBe(plan.digests.length);
        expect(plan.freedBytes).toBe(plan.digests.length * 10);
        if (plan.freedBytes < bytes) {
          const heldBlobs = new Set([...held].flatMap(({ blobs }) => blobs.map((blob) => blob.digest)));
          const left = [...onDisk.keys()].filter((blob) => !plan.digests.includes(blob));
          expect(left.every((blob) => pinned.has(blob) || heldBlobs.has(blob))).toBe(true);
        }
      }),
    );
  });
});
