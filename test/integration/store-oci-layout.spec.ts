import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { hexOf } from '../../src/domain/digest.js';
import { MEDIA_TYPES } from '../../src/domain/manifest.js';
import { describeWith } from '../support/engines.js';
import { type BuiltImage, ImageBuilder } from '../support/image-builder.js';
import { TemporaryStore } from '../support/temporary-store.js';

const run = promisify(execFile);

describeWith('skopeo', 'STORE_DIR as an OCI image layout', () => {
  let builder: ImageBuilder;
  let files: TemporaryStore;
  let single: BuiltImage;

  beforeAll(async () => {
    builder = await ImageBuilder.create();
    single = await builder.image({
      layers: [
        { seed: 'one', sizeBytes: 100_000 },
        { seed: 'two', sizeBytes: 3_000_000 },
      ],
    });
  }, 60_000);
  afterAll(() => builder.dispose());
  beforeEach(async () => {
    files = await TemporaryStore.open();
  });
  afterEach(() => files.dispose());

  async function takeIn(image: string, built: BuiltImage): Promise<void> {
    for (const { digest } of built.blobs) {
      await files.store.putBytes(digest, await readFile(join(built.directory, hexOf(digest))));
    }
    const { digest, size, mediaType } = built.root;
    const blobs = built.blobs.map((blob) => ({ digest: blob.digest, size: blob.size }));
    await files.catalog.add({ image, platform: 'linux/amd64', root: digest, size, mediaType, blobs });
  }

  async function inspect(image: string): Promise<{ Digest: string; Layers: string[] }> {
    const { stdout } = await run('skopeo', ['inspect', `oci:${files.directory}:${image}`]);
    return JSON.parse(stdout) as { Digest: string; Layers: string[] };
  }

  it('is read by skopeo, each image under its canonical name', async () => {
    await takeIn('docker.io/library/single:1.0', single);
    await takeIn('registry.example:5000/team/index_1:latest', await builder.index([single]));
    const layers = single.images[0]!.layers.map(({ digest }) => digest);
    expect((await inspect('docker.io/library/single:1.0')).Layers).toEqual(layers);
    expect((await inspect('docker.io/library/single:1.0')).Digest).toBe(single.root.digest);
    expect((await inspect('registry.example:5000/team/index_1:latest')).Layers).toEqual(layers);
  });

  it('is copied whole by skopeo, which checks every digest', async () => {
    await takeIn('docker.io/library/single:1.0', single);
    const copy = await mkdtemp(join(tmpdir(), 'layout-copy-'));
    try {
      await run('skopeo', [
        'copy',
        `oci:${files.directory}:docker.io/library/single:1.0`,
        `oci:${copy}:copy`,
      ]);
      for (const { digest, size } of single.blobs) {
        expect((await readFile(join(copy, 'blobs', 'sha256', hexOf(digest)))).length).toBe(size);
      }
    } finally {
      await rm(copy, { recursive: true });
    }
  });

  it('is still read with an image of Docker media types in it, which skopeo passes over by name', async () => {
    const docker = await builder.image({ format: 'docker', layers: [{ seed: 'docker', sizeBytes: 10_000 }] });
    expect(docker.root.mediaType).toBe(MEDIA_TYPES.dockerManifest);
    await takeIn('docker.io/library/docker:1', docker);
    await takeIn('docker.io/library/single:1.0', single);
    expect((await inspect('docker.io/library/single:1.0')).Digest).toBe(single.root.digest);
    await expect(inspect('docker.io/library/docker:1')).rejects.toThrow('no descriptor found');
  });
});
