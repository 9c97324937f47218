import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';

import type { Digest } from '../../src/domain/digest.js';
import { type Platform, platformOfProcess } from '../../src/domain/platform.js';
import { imageTar } from '../../src/common/tar/image-tar.js';
import { planImageTar } from '../../src/common/tar/image-tar-plan.js';
import { DockerEngine } from '../support/docker-engine.js';
import { DockerRegistry } from '../support/docker-registry.js';
import { describeUnless } from '../support/engines.js';
import { type BuiltImage, ImageBuilder } from '../support/image-builder.js';
import { newerDocker } from '../support/newer-docker.js';
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

const newer = newerDocker();
describeUnless(
  'missing' in newer ? newer.missing : undefined,
  'an image tar, loaded into the containerd store of Docker',
  () => {
    let engine: DockerEngine;

    beforeAll(async () => {
      const { binDirectory } = newer as { binDirectory: string };
      engine = await DockerEngine.start({ binDirectory, containerdStore: true });
    }, 60_000);
    afterAll(() => engine.stop(), 60_000);

    it('has the digest for its name when the reference is one', async () => {
      const name = `registry.example/team/digest@${image.root.digest}`;
      await load(engine, name, image.root.digest);
      expect((await engine.client.getImage(name).inspect()).Id).toBe(image.root.digest);
    }, 60_000);

    it('has the name, the id and the repository digest that a pull gives', async () => {
      const answer = await load(engine, NAME, image.root.digest);
      expect(answer).toContain(`Loaded image: ${NAME}`);
      const loaded = await engine.client.getImage(NAME).inspect();
      expect(loaded.Id).toBe(image.root.digest);

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
  },
);
