import { execFile } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';

import { type Digest, hexOf } from '../../src/domain/digest.js';
import { type Platform, platformOfProcess } from '../../src/domain/platform.js';
import { imageTar, imageTarSize } from '../../src/common/tar/image-tar.js';
import { planImageTar } from '../../src/common/tar/image-tar-plan.js';
import { ContainerdEngine } from '../support/containerd-engine.js';
import { DockerEngine } from '../support/docker-engine.js';
import { DockerRegistry } from '../support/docker-registry.js';
import { describeWith } from '../support/engines.js';
import { type BuiltImage, ImageBuilder } from '../support/image-builder.js';
import { pushImage } from '../support/push-image.js';
import { storeImage } from '../support/stored-image.js';
import { TemporaryStore } from '../support/temporary-store.js';

const PLATFORM: Platform = platformOfProcess(process.platform, process.arch);
const OTHER: Platform = { os: 'linux', architecture: PLATFORM.architecture === 'amd64' ? 'arm64' : 'amd64' };
const SIGNAL = new AbortController().signal;
const NAME = 'registry.example/team/app:v1';

let builder: ImageBuilder;
let store: TemporaryStore;
/** Two platforms and attestations, of which the store holds what a preheat of ours brings. */
let image: BuiltImage;

beforeAll(async () => {
  builder = await ImageBuilder.create();
  store = await TemporaryStore.open();
  const layers = (['gzip', 'none', 'gzip'] as const).map((compression, index) => ({
    seed: `tar-${index}`,
    sizeBytes: 3_000_000,
    compression,
  }));
  const ours = await builder.image({ layers, platform: PLATFORM });
  const other = await builder.image({ layers: [{ seed: 'other', sizeBytes: 100_000 }], platform: OTHER });
  image = await builder.index([ours, other], { attestations: true });
  const foreign = new Set(other.blobs.map(({ digest }) => digest));
  await storeImage(image, store.store, ({ digest }) => !foreign.has(digest));
});

afterAll(async () => {
  await store.dispose();
  await builder.dispose();
});

async function tarOf(name: string, root: Digest): Promise<Readable> {
  return imageTar(await planImageTar(name, PLATFORM, root, store.store), store.store, SIGNAL);
}

/** What the engine says about the load: its JSON stream. */
async function load(engine: DockerEngine, name: string, root: Digest): Promise<string> {
  return text(await engine.client.loadImage(await tarOf(name, root)));
}

async function pull(engine: DockerEngine, name: string): Promise<void> {
  await text(await engine.client.pull(name));
}

const configDigest = (): Digest => image.images[0]!.config.digest;

describeWith(['dockerd', 'docker-registry'], 'an image tar, loaded into the classic store of Docker', () => {
  let engine: DockerEngine;

  beforeAll(async () => {
    engine = await DockerEngine.start();
  }, 60_000);
  afterAll(() => engine.stop(), 60_000);

  it('has the name and the id that a pull gives', async () => {
    expect(await load(engine, NAME, image.root.digest)).toContain(`Loaded image: ${NAME}`);
    const loaded = await engine.client.getImage(NAME).inspect();
    expect(loaded.Id).toBe(configDigest());
    expect(loaded.RepoTags).toEqual([NAME]);

    const registry = await DockerRegistry.start();
    try {
      await pushImage(image, registry.url, 'app', ['v1']);
      await pull(engine, `${registry.host}/app:v1`);
      expect((await engine.client.getImage(`${registry.host}/app:v1`).inspect()).Id).toBe(loaded.Id);
    } finally {
      await registry.stop();
    }
    const container = await engine.client.createContainer({ Image: NAME });
    await container.remove();
  }, 60_000);

  it('comes in nameless when the reference is a digest', async () => {
    const name = `registry.example/team/digest@${image.root.digest}`;
    expect(await load(engine, name, image.root.digest)).toContain(`Loaded image ID: ${configDigest()}`);
    expect((await engine.client.getImage(configDigest()).inspect()).RepoTags).not.toContain(name);
  }, 60_000);

  it('is refused as a whole when it has zstd layers, which Docker before 23 cannot read', async () => {
    const zstd = await builder.image({
      layers: [{ seed: 'zstd', sizeBytes: 500_000, compression: 'zstd' }],
      platform: PLATFORM,
    });
    await storeImage(zstd, store.store);
    const answer = await load(engine, 'registry.example/zstd:1', zstd.root.digest);
    expect(answer).toMatch(/errorDetail/);
    await expect(engine.client.getImage('registry.example/zstd:1').inspect()).rejects.toThrow(/404/);
  }, 60_000);
});

describeWith('containerd', 'an image tar, imported into containerd', () => {
  let engine: ContainerdEngine;

  beforeAll(async () => {
    engine = await ContainerdEngine.start({ withoutCri: true });
  }, 60_000);
  afterAll(() => engine.stop(), 60_000);

  it.each([NAME, 'registry.example/team/app@'])(
    'has the name %s and means what a pull does',
    async (given) => {
      const name = given.endsWith('@') ? `${given}${image.root.digest}` : given;
      const directory = await mkdtemp(join(tmpdir(), 'tar-'));
      try {
        const path = join(directory, 'image.tar');
        await pipeline(await tarOf(name, image.root.digest), createWriteStream(path));
        await engine.ctr(['images', 'import', '--snapshotter', 'native', path]);
        expect(await engine.images()).toContainEqual({ name, target: image.root.digest });
        expect(await engine.ctr(['images', 'check', '--snapshotter', 'native', `name==${name}`])).toMatch(
          /complete/,
        );
      } finally {
        await rm(directory, { recursive: true, force: true });
      }
    },
    60_000,
  );
});

describeWith('skopeo', 'an image tar, read by skopeo', () => {
  let directory: string;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'tar-'));
    await pipeline(await tarOf(NAME, image.root.digest), createWriteStream(join(directory, 'image.tar')));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  it('is as long as said before', async () => {
    const plan = await planImageTar(NAME, PLATFORM, image.root.digest, store.store);
    expect((await stat(join(directory, 'image.tar'))).size).toBe(imageTarSize(plan));
  });

  it.each(['docker-archive', 'oci-archive'])('is a good %s of the same config', async (form) => {
    const target = join(directory, form);
    await promisify(execFile)('skopeo', [
      ...['--insecure-policy', 'copy', '--quiet'],
      ...[`${form}:${join(directory, 'image.tar')}`, `dir:${target}`],
    ]);
    const manifest = await readFile(join(target, 'manifest.json'), 'utf8');
    expect(manifest).toContain(configDigest());
    expect((await stat(join(target, hexOf(configDigest())))).isFile()).toBe(true);
  });
});
