import { rm } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';

import { TemporaryStore } from '../../../test/support/temporary-store.js';
import { TINY_PLATFORM, tinyImage } from '../../../test/support/tiny-image.js';
import { tarEntries } from './tar-entries.js';
import { readBytes, StreamTarInput } from './tar-input.js';
import { type Digest, digestOf, hexOf } from '../../domain/digest.js';
import { MEDIA_TYPES } from '../../domain/manifest.js';
import { imageTar, imageTarSize } from './image-tar.js';
import { planImageTar } from './image-tar-plan.js';

const SIGNAL = new AbortController().signal;
const NAME = 'registry.example/team/app:v1';

describe('imageTar', () => {
  const image = tinyImage(3);
  const other = tinyImage(1, { os: 'linux', architecture: 'arm64' });
  const root = digestOf(image.manifestBytes);
  let files: TemporaryStore;

  beforeEach(async () => {
    files = await TemporaryStore.open();
    for (const [digest, bytes] of image.blobs) await files.store.putBytes(digest, bytes);
  });
  afterEach(() => files.dispose());

  async function tarOf(name: string, digest: Digest, signal = SIGNAL): Promise<Readable> {
    return imageTar(await planImageTar(name, TINY_PLATFORM, digest, files.store), files.store, signal);
  }

  async function documentsIn(tar: Buffer): Promise<Map<string, unknown>> {
    const input = new StreamTarInput(
      (async function* () {
        yield await Promise.resolve(tar);
      })(),
      tar.length,
      SIGNAL,
    );
    const documents = new Map<string, unknown>();
    for await (const entry of tarEntries(input)) {
      if (entry.type !== 'file' || entry.path.startsWith('blobs/')) continue;
      documents.set(entry.path, JSON.parse((await readBytes(input, entry.sizeBytes)).toString()));
    }
    return documents;
  }

  it("has docker's manifest.json and an OCI layout around the same blobs", async () => {
    const documents = await documentsIn(await buffer(await tarOf(NAME, root)));
    const path = (digest: Digest): string => `blobs/sha256/${hexOf(digest)}`;
    expect(documents.get('manifest.json')).toEqual([
      {
        Config: path(image.manifest.config.digest),
        RepoTags: [NAME],
        Layers: image.manifest.layers.map(({ digest }) => path(digest)),
      },
    ]);
    expect(documents.get('index.json')).toMatchObject({
      manifests: [
        {
          digest: root,
          size: image.manifestBytes.length,
          annotations: { 'io.containerd.image.name': NAME, 'org.opencontainers.image.ref.name': 'v1' },
        },
      ],
    });
    expect(documents.get('oci-layout')).toEqual({ imageLayoutVersion: '1.0.0' });
  });

  it('points at the index where the reference means one, and takes this platform of it', async () => {
    const index = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MEDIA_TYPES.ociIndex,
        manifests: [image, other].map(({ manifest, manifestBytes }, at) => ({
          mediaType: manifest.mediaType,
          digest: digestOf(manifestBytes),
          size: manifestBytes.length,
          platform: at === 0 ? TINY_PLATFORM : { os: 'linux', architecture: 'arm64' },
        })),
      }),
    );
    await files.store.putBytes(digestOf(index), index);
    const documents = await documentsIn(await buffer(await tarOf(NAME, digestOf(index))));
    expect(documents.get('index.json')).toMatchObject({
      manifests: [{ digest: digestOf(index), mediaType: MEDIA_TYPES.ociIndex }],
    });
    expect(documents.get('manifest.json')).toMatchObject([
      { Config: `blobs/sha256/${hexOf(image.manifest.config.digest)}` },
    ]);
  });

  it.each([
    [`registry.example/app@${root}`, `registry.example/app@${root}`],
    [`registry.example/app:v2@${root}`, `registry.example/app@${root}`],
  ])('gives %s no tag', async (name, containerdName) => {
    const documents = await documentsIn(await buffer(await tarOf(name, root)));
    expect(documents.get('manifest.json')).toMatchObject([{ RepoTags: null }]);
    expect(documents.get('index.json')).toMatchObject({
      manifests: [{ annotations: { 'io.containerd.image.name': containerdName } }],
    });
  });

  it('is the same bytes each time, as many as said before', async () => {
    const first = await buffer(await tarOf(NAME, root));
    expect(await buffer(await tarOf(NAME, root))).toEqual(first);
    expect(first.length).toBe(imageTarSize(await planImageTar(NAME, TINY_PLATFORM, root, files.store)));
  });

  it('is not begun when the store has not all of the image', async () => {
    await rm(files.layout.blob(image.manifest.layers[2]!.digest));
    await expect(tarOf(NAME, root)).rejects.toMatchObject({ reason: 'no_source' });
  });

  it('is not begun for a platform that the index lacks', async () => {
    const index = Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [] }),
    );
    await files.store.putBytes(digestOf(index), index);
    await expect(tarOf(NAME, digestOf(index))).rejects.toMatchObject({ reason: 'platform_not_supported' });
  });

  it('breaks, never ends, when a blob vanishes midway', async () => {
    const tar = await tarOf(NAME, root);
    await rm(files.layout.blob(image.manifest.layers[2]!.digest));
    await expect(buffer(tar)).rejects.toMatchObject({ reason: 'no_source' });
    expect(tar.destroyed).toBe(true);
    expect(tar.readableEnded).toBe(false);
  });

  it('breaks when it is aborted, and reads nothing before it is asked', async () => {
    const controller = new AbortController();
    const tar = await tarOf(NAME, root, controller.signal);
    const reader = tar[Symbol.asyncIterator]();
    await reader.next();
    controller.abort(new Error('client gone'));
    await expect(buffer(tar)).rejects.toThrow('client gone');
  });
});
