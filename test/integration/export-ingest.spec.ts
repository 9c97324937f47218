import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

import { hexOf } from '../../src/domain/digest.js';
import { type ImageManifest, parseManifest } from '../../src/domain/manifest.js';
import { platformOfProcess } from '../../src/domain/platform.js';
import { imageTar } from '../../src/common/tar/image-tar.js';
import { planImageTar } from '../../src/common/tar/image-tar-plan.js';
import { StoreInventory } from '../../src/store/store-inventory.js';
import { ExportIngest, type TrustedImage } from '../../src/transfer/export/export-ingest.js';
import { DockerEngine, type DockerEngineOptions } from '../support/docker-engine.js';
import { describeUnless, describeWith } from '../support/engines.js';
import { writeDockerArchive, writeOciArchive } from '../support/image-archive.js';
import { type BuiltImage, ImageBuilder } from '../support/image-builder.js';
import { newerDocker } from '../support/newer-docker.js';
import { storeImage } from '../support/stored-image.js';
import { TemporaryStore } from '../support/temporary-store.js';

const SIGNAL = new AbortController().signal;
const CAP = 100_000_000;

let builder: ImageBuilder;
let image: BuiltImage;
let trusted: TrustedImage;
let files: TemporaryStore;

beforeAll(async () => {
  builder = await ImageBuilder.create();
  const layers = ['one', 'two', 'one'].map((seed) => ({ seed, sizeBytes: 3_000_000 }));
  image = await builder.image({ layers });
  const bytesOf = (hex: string): Promise<Buffer> => readFile(join(image.directory, hex));
  const manifest = parseManifest(await bytesOf(hexOf(image.root.digest))) as ImageManifest;
  trusted = { manifest, configBytes: await bytesOf(hexOf(manifest.config.digest)) };
});
beforeEach(async () => {
  files = await TemporaryStore.open();
});
afterEach(() => files.dispose());
afterAll(() => builder.dispose());

const ingest = (stream: AsyncIterable<Uint8Array>): ReturnType<ExportIngest['ingest']> =>
  new ExportIngest(files.store, new StoreInventory(files.layout)).ingest(
    stream,
    trusted,
    { form: 'any', maxBytes: CAP, receive: () => Promise.resolve(), admit: () => Promise.resolve() },
    SIGNAL,
  );

/** Loads the image into an engine of its own and unpacks what its `docker save` says. */
async function saveFrom(
  options: DockerEngineOptions,
  write: (path: string) => Promise<void>,
): ReturnType<ExportIngest['ingest']> {
  const directory = await mkdtemp(join(tmpdir(), 'exp-'));
  const engine = await DockerEngine.start(options);
  try {
    await write(join(directory, 'app.tar'));
    expect(await text(await engine.client.loadImage(join(directory, 'app.tar')))).not.toContain(
      'errorDetail',
    );
    const saved = await engine.client.getImage('app:v1').get();
    return await ingest(saved as AsyncIterable<Buffer>);
  } finally {
    await engine.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

const dockerArchive = (path: string): Promise<void> => writeDockerArchive(image, path, ['app:v1']);
const ociArchive = (path: string): Promise<void> =>
  writeOciArchive(image, path, ['docker.io/library/app:v1']);

it('takes the image tar of another node as the original', async () => {
  const other = await TemporaryStore.open();
  try {
    await storeImage(image, other.store);
    const platform = platformOfProcess(process.platform, process.arch);
    const plan = await planImageTar('docker.io/library/app:v1', platform, image.root.digest, other.store);
    expect(await ingest(imageTar(plan, other.store, SIGNAL))).toMatchObject({ complete: 'original' });
    expect(await files.store.verifyAll(SIGNAL)).toEqual([]);
  } finally {
    await other.dispose();
  }
});

describeWith('dockerd', 'the export of the classic store', () => {
  it('gives the uncompressed layers and a derived manifest around the same config', async () => {
    const result = await saveFrom({}, dockerArchive);
    expect(result).toMatchObject({ complete: 'derived' });
    const diffIds = new Set(image.images[0]!.layers.map(({ diffId }) => diffId));
    expect(new Set(result.blobs.slice(2).map(({ digest }) => digest))).toEqual(diffIds);
    for (const { digest, size } of result.blobs) expect(await files.store.sizeOf(digest)).toBe(size);
    expect(await files.store.verifyAll(SIGNAL)).toEqual([]);
  }, 60_000);
});

const newer = newerDocker();
describeUnless('missing' in newer ? newer.missing : undefined, 'the export of a newer Docker', () => {
  const { binDirectory } = newer as { binDirectory: string };

  it('gives the same from its classic store', async () => {
    expect(await saveFrom({ binDirectory }, dockerArchive)).toMatchObject({ complete: 'derived' });
  }, 60_000);

  it('gives the original from its containerd store', async () => {
    const result = await saveFrom({ binDirectory, containerdStore: true }, ociArchive);
    expect(result).toMatchObject({ complete: 'original' });
    expect(await files.store.verifyAll(SIGNAL)).toEqual([]);
  }, 60_000);
});
