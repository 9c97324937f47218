import { Readable } from 'node:stream';

import fc from 'fast-check';

import { TemporaryStore } from '../../../test/support/temporary-store.js';
import { dockerArchiveFiles, ociLayoutFiles, tarOf, tinyImage } from '../../../test/support/tiny-image.js';
import { digestOf, hexOf } from '../../domain/digest.js';
import { PreheatFailure } from '../../domain/errors.js';
import { deriveManifest } from '../../domain/manifest.js';
import { StoreInventory } from '../../store/store-inventory.js';
import { ExportIngest, type ExportIntake, type ExportResult, type ExportStore } from './export-ingest.js';

const SIGNAL = new AbortController().signal;
const CAP = 1_000_000;
const INTAKE: ExportIntake = {
  form: 'any',
  maxBytes: CAP,
  receive: () => Promise.resolve(),
  admit: () => Promise.resolve(),
};

describe('ExportIngest', () => {
  const image = tinyImage(3);
  const trusted = { manifest: image.manifest, configBytes: image.config };
  const classic = dockerArchiveFiles(image, ['app:v1']);
  let files: TemporaryStore;
  let inventory: StoreInventory;

  beforeEach(async () => {
    files = await TemporaryStore.open();
    inventory = new StoreInventory(files.layout);
  });
  afterEach(() => files.dispose());

  function ingest(tar: Buffer, intake: Partial<ExportIntake> = {}): Promise<ExportResult> {
    const pieces = Array.from({ length: Math.ceil(tar.length / 1000) }, (_, at) =>
      tar.subarray(at * 1000, at * 1000 + 1000),
    );
    const limits = { ...INTAKE, ...intake };
    return new ExportIngest(files.store, inventory).ingest(Readable.from(pieces), trusted, limits, SIGNAL);
  }

  async function storedBlobs(): Promise<string[]> {
    return [...(await inventory.list()).complete.keys()];
  }

  it('takes a classic docker save: layers by diffID, a manifest derived from the same config', async () => {
    const result = await ingest(tarOf(classic));
    const layers = image.layers.map((layer) => ({ digest: digestOf(layer), size: layer.length }));
    const derived = deriveManifest({ digest: digestOf(image.config), size: image.config.length }, layers);
    expect(result).toMatchObject({ complete: 'derived', derived: digestOf(derived) });
    expect((await storedBlobs()).toSorted()).toEqual(result.blobs.map(({ digest }) => digest).toSorted());
    expect(await files.store.readBytes(digestOf(derived), CAP)).toEqual(Buffer.from(derived));
  });

  it('takes the original blobs where the export has them', async () => {
    const result = await ingest(tarOf(ociLayoutFiles(image, ['docker.io/library/app:v1'])));
    expect(result).toEqual({
      complete: 'original',
      blobs: [image.manifest.config, ...image.manifest.layers],
    });
    for (const { digest } of result.blobs) expect(await files.store.sizeOf(digest)).toBeDefined();
  });

  it('takes what docker save writes since 25: uncompressed layers under blobs/', async () => {
    const layers = image.layers.map((layer): [string, Buffer] => [
      `blobs/sha256/${hexOf(digestOf(layer))}`,
      layer,
    ]);
    const result = await ingest(
      tarOf([...layers, ['manifest.json', '[]'], ['blobs/sha256/'.padEnd(77, 'f'), 'other']]),
    );
    expect(result.complete).toBe('derived');
  });

  describe('where the very blobs of the manifest are needed', () => {
    const form = 'original';
    const plain = image.layers.map((layer): [string, Buffer] => [
      `blobs/sha256/${hexOf(digestOf(layer))}`,
      layer,
    ]);

    it('takes them', async () => {
      const result = await ingest(tarOf(ociLayoutFiles(image, ['a:b'])), { form });
      expect(result.complete).toBe('original');
    });

    it.each([
      ['named as Docker did up to 24', classic],
      ['named by their digests', plain],
    ])('takes no uncompressed layers, %s, and calls nobody a liar for them', async (_, entries) => {
      await expect(ingest(tarOf(entries), { form })).rejects.toMatchObject({ reason: 'no_source' });
      expect(await storedBlobs()).toEqual([]);
    });

    it('does not make up a manifest when one is missing', async () => {
      const last = hexOf(image.manifest.layers[2]!.digest);
      const entries = ociLayoutFiles(image, ['a:b']).filter(([name]) => !name.endsWith(last));
      await expect(ingest(tarOf(entries), { form })).rejects.toMatchObject({ reason: 'corrupt' });
      const others = image.manifest.layers.slice(0, 2).map(({ digest }) => digest);
      expect((await storedBlobs()).toSorted()).toEqual(others.toSorted());
    });
  });

  it('writes nothing before there is room for it, and keeps nothing when there is none', async () => {
    const full = new PreheatFailure('store_full', 'no room');
    const admitted: number[] = [];
    const admit = async (sizeBytes: number): Promise<void> => {
      if (admitted.length === 2) throw full;
      admitted.push(sizeBytes);
      expect(await storedBlobs()).toHaveLength(admitted.length - 1);
    };
    await expect(ingest(tarOf(classic), { admit })).rejects.toBe(full);
    expect(admitted).toEqual(image.layers.slice(0, 2).map(({ length }) => length));
    expect(await storedBlobs()).toEqual([]);
  });

  it('waits for each piece it received', async () => {
    const tar = tarOf(classic);
    let bytes = 0;
    await ingest(tar, {
      receive: async (count) => {
        await Promise.resolve();
        bytes += count;
      },
    });
    expect(bytes).toBe(tar.length);
  });

  it('keeps nothing when a layer is not the right one, but what was there before', async () => {
    const first = image.layers[0]!;
    await files.store.putBytes(digestOf(first), first);
    const wrong = classic.map(([name, content], at): [string, Buffer] => [
      name,
      at === 2 ? flipped(content) : content,
    ]);
    await expect(ingest(tarOf(wrong))).rejects.toMatchObject({ reason: 'corrupt' });
    expect(await storedBlobs()).toEqual([digestOf(first)]);
  });

  it('refuses a blob that is not what its name says', async () => {
    const wrong = ociLayoutFiles(image, ['a:b']).map(([name, content]): [string, Buffer] => [
      name,
      name.includes(hexOf(image.manifest.layers[1]!.digest)) ? flipped(content) : content,
    ]);
    await expect(ingest(tarOf(wrong))).rejects.toMatchObject({ reason: 'corrupt' });
    const stored = await storedBlobs();
    expect(image.manifest.layers.map(({ digest }) => digest)).toEqual(expect.arrayContaining(stored));
    expect(await files.store.verifyAll(SIGNAL)).toEqual([]);
  });

  it('refuses a config that is not the trusted one', async () => {
    const wrong = classic.map(([name, content]): [string, Buffer] => [
      name,
      /^\w{64}\.json$/.test(name) ? flipped(content) : content,
    ]);
    await expect(ingest(tarOf(wrong))).rejects.toMatchObject({ reason: 'corrupt' });
    expect(await storedBlobs()).toEqual([]);
  });

  it.each([
    ['a layer is missing', (): Buffer => tarOf(classic.slice(1))],
    ['it is another image', (): Buffer => tarOf(dockerArchiveFiles(tinyImage(), ['app:v1']))],
    ['it ends early, cleanly', (): Buffer => tarOf(classic).subarray(0, 3000)],
    ['it is no tar', (): Buffer => Buffer.alloc(5000, 'x')],
    ['it is empty', (): Buffer => Buffer.alloc(0)],
  ])('keeps nothing when %s', async (_why, tar) => {
    await expect(ingest(tar())).rejects.toMatchObject({ reason: 'corrupt' });
    expect(await storedBlobs()).toEqual([]);
  });

  it('reads no more than it may', async () => {
    await expect(ingest(tarOf(classic), { maxBytes: 4000 })).rejects.toMatchObject({ reason: 'corrupt' });
    expect(await storedBlobs()).toEqual([]);
  });

  it('keeps nothing when the connection breaks, and says that it broke', async () => {
    const tar = tarOf(classic);
    const broken = Readable.from(
      (async function* () {
        yield await Promise.resolve(tar.subarray(0, 6000));
        throw new Error('connection reset');
      })(),
    );
    const ingesting = new ExportIngest(files.store, inventory).ingest(broken, trusted, INTAKE, SIGNAL);
    await expect(ingesting).rejects.toThrow('connection reset');
    expect(await storedBlobs()).toEqual([]);
  });

  it('stops when told to, and closes the stream', async () => {
    const controller = new AbortController();
    const stream = Readable.from(
      (async function* () {
        yield await Promise.resolve(tarOf(classic).subarray(0, 4000));
        controller.abort(new PreheatFailure('timeout', 'enough'));
        await new Promise(() => undefined);
      })(),
    );
    const ingesting = new ExportIngest(files.store, inventory).ingest(
      stream,
      trusted,
      INTAKE,
      controller.signal,
    );
    await expect(ingesting).rejects.toMatchObject({ reason: 'timeout' });
    expect(stream.destroyed).toBe(true);
    expect(await storedBlobs()).toEqual([]);
  });

  it('leaves the layers of the manifest to whoever ends it since he has them all', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const all = image.manifest.layers.map(({ digest }) => digest);
    const missing = new Set(all);
    const { store } = files;
    const watched: ExportStore = {
      sizeOf: (digest) => store.sizeOf(digest),
      putBytes: (digest, bytes) => store.putBytes(digest, bytes),
      ingest: async (...entry) => {
        const blob = await store.ingest(...entry);
        if (blob) missing.delete(blob.digest);
        if (missing.size === 0) controller.abort(new PreheatFailure('timeout', 'all is there'));
        return blob;
      },
    };
    const stream = Readable.from([tarOf(ociLayoutFiles(image, ['a:b']))]);
    const ingesting = new ExportIngest(watched, inventory).ingest(stream, trusted, INTAKE, signal);
    await expect(ingesting).rejects.toMatchObject({ reason: 'timeout' });
    expect((await storedBlobs()).toSorted()).toEqual(all.toSorted());
  });

  it('never keeps a wrong byte, whatever is changed on the way', async () => {
    const tar = tarOf(classic);
    await fc.assert(
      fc.asyncProperty(fc.nat(tar.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const bytes = Buffer.from(tar);
        bytes[at] = (bytes[at] ?? 0) ^ change;
        const result = await ingest(bytes).catch((error: unknown) => {
          expect(error).toMatchObject({ reason: 'corrupt' });
        });
        if (!result) expect(await storedBlobs()).toEqual([]);
        expect(await files.store.verifyAll(SIGNAL)).toEqual([]);
        for (const { digest } of result?.blobs ?? []) await inventory.remove(digest);
      }),
      { numRuns: 40 },
    );
  });
});

function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[700 % copy.length] = (copy[700 % copy.length] ?? 0) ^ 1;
  return copy;
}
