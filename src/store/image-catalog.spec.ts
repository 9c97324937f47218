import { readFile, rm, writeFile } from 'node:fs/promises';

import { TemporaryStore } from '../../test/support/temporary-store.js';
import { VirtualClock } from '../../test/support/virtual-clock.js';
import { type Digest, digestOf } from '../domain/digest.js';
import { MEDIA_TYPES } from '../domain/manifest.js';
import type { CatalogImage } from './catalog-image.js';

type NewImage = Omit<CatalogImage, 'lastUsedMs'>;

describe('ImageCatalog', () => {
  const clock = new VirtualClock();
  let files: TemporaryStore;

  beforeEach(async () => {
    files = await TemporaryStore.open({}, clock);
  });
  afterEach(() => files.dispose());

  async function stored(text: string): Promise<{ digest: Digest; size: number }> {
    const bytes = Buffer.from(text);
    await files.store.putBytes(digestOf(bytes), bytes);
    return { digest: digestOf(bytes), size: bytes.length };
  }

  async function newImage(image: string, platform = 'linux/amd64', content = image): Promise<NewImage> {
    const root = await stored(`{"manifest":"${content}"}`);
    const layer = await stored(`layer of ${content}`);
    return {
      image,
      platform,
      root: root.digest,
      size: root.size,
      mediaType: MEDIA_TYPES.ociManifest,
      blobs: [root, layer],
    };
  }

  async function index(): Promise<
    { digest: string; size: number; mediaType: string; annotations?: Record<string, string> }[]
  > {
    const json = JSON.parse(await readFile(files.layout.indexFile, 'utf8')) as { manifests: never };
    return json.manifests;
  }

  it('finds what was added, by name and platform, after a restart too', async () => {
    const image = await newImage('docker.io/library/a:1');
    await files.catalog.add(image);
    const found = { ...image, lastUsedMs: clock.wallMs() };
    expect(files.catalog.find('docker.io/library/a:1', 'linux/amd64')).toEqual(found);
    expect(files.catalog.find('docker.io/library/a:1', 'linux/arm64')).toBeUndefined();

    files = await files.reopen();

    expect(files.catalog.list()).toEqual([found]);
    await files.catalog.remove([image]);
    expect(files.catalog.list()).toEqual([]);
    files = await files.reopen();
    expect(files.catalog.list()).toEqual([]);
  });

  it('names the images in index.json as OCI and containerd read them', async () => {
    const image = await newImage('docker.io/library/a:1');
    await files.catalog.add(image);
    const annotations = {
      'org.opencontainers.image.ref.name': image.image,
      'io.containerd.image.name': image.image,
    };
    const { root: digest, size, mediaType } = image;
    expect(await index()).toEqual([{ digest, size, mediaType, annotations }]);
  });

  it('gives a name to one root only, the one used last, and lists a root of two platforms once', async () => {
    const first = await newImage('docker.io/library/a:1', 'linux/amd64', 'first');
    await files.catalog.add(first);
    await clock.advance(1000);
    const second = await newImage('docker.io/library/a:1', 'linux/arm64', 'second');
    await files.catalog.add(second);
    await files.catalog.add({ ...second, platform: 'linux/arm/v7' });
    expect((await index()).map(({ digest, annotations }) => [digest, annotations !== undefined])).toEqual([
      [second.root, true],
      [first.root, false],
    ]);
  });

  it('points to the derived manifest of an image that has one', async () => {
    const image = await newImage('docker.io/library/a:1');
    const derived = await stored('{"derived":true}');
    await files.catalog.add({ ...image, derived: derived.digest, blobs: [...image.blobs, derived] });
    expect(await index()).toMatchObject([{ ...derived, mediaType: MEDIA_TYPES.ociManifest }]);
  });

  it('forgets at start images that lack a blob', async () => {
    const [whole, broken] = [
      await newImage('docker.io/library/whole:1'),
      await newImage('docker.io/library/broken:1'),
    ];
    await files.catalog.add(whole);
    await files.catalog.add(broken);
    await rm(files.layout.blob(broken.blobs[1]!.digest));
    files = await files.reopen();
    expect(files.catalog.list().map(({ image }) => image)).toEqual([whole.image]);
    expect(await index()).toHaveLength(1);
  });

  it.each(['', '{', '{"v":2,"images":[]}', '{"v":1,"images":[{"image":""}]}'])(
    'begins anew over a damaged file: %j',
    async (text) => {
      await files.catalog.add(await newImage('docker.io/library/a:1'));
      await files.store.close();
      await writeFile(files.layout.catalogFile, text);
      files = await files.reopen();
      expect(files.catalog.list()).toEqual([]);
      expect(await index()).toEqual([]);
    },
  );

  it('writes both files again when the folder was deleted', async () => {
    const image = await newImage('docker.io/library/a:1');
    await rm(files.directory, { recursive: true });
    await Promise.all([
      files.catalog.add(image),
      files.catalog.add({ ...image, image: 'docker.io/library/b:1' }),
    ]);
    expect(await index()).toHaveLength(2);
  });

  it('notes uses, but never an earlier one', async () => {
    const image = await newImage('docker.io/library/a:1');
    await files.catalog.add(image);
    const added = files.catalog.list()[0]!;
    files.catalog.markUsed(added, added.lastUsedMs - 1);
    expect(files.catalog.list()[0]?.lastUsedMs).toBe(added.lastUsedMs);
    await clock.advance(1000);
    files.catalog.markUsed(added);
    expect(files.catalog.list()[0]?.lastUsedMs).toBe(added.lastUsedMs + 1000);
  });
});
