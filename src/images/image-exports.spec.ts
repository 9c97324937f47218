import { buffer } from 'node:stream/consumers';
import { Readable } from 'node:stream';

import { TemporaryStore } from '../../test/support/temporary-store.js';
import { TINY_PLATFORM, tinyImage } from '../../test/support/tiny-image.js';
import type { AppConfig } from '../config/app-config.js';
import { type Digest, digestOf } from '../domain/digest.js';
import { parseImageReference } from '../domain/image-reference.js';
import type { RuntimeInventory } from '../preheat/runtime-inventory.js';
import type { StoreSpace } from '../store/store-space.js';
import { StoreInventory } from '../store/store-inventory.js';
import { ImageExports } from './image-exports.js';
import type { RuntimeExporter } from './runtime-exporter.js';

const SIGNAL = new AbortController().signal;
const NAME = 'registry.example/team/app:1';
const WANTED = {
  image: NAME,
  reference: parseImageReference(NAME),
  platform: TINY_PLATFORM,
  priority: 0,
  timeoutMs: 1,
};

describe('ImageExports', () => {
  const image = tinyImage();
  const root = digestOf(image.manifestBytes);
  let files: TemporaryStore;
  let inRuntime: boolean;
  let touched: Digest[];
  let exports: ImageExports;

  beforeEach(async () => {
    files = await TemporaryStore.open();
    inRuntime = true;
    touched = [];
    exports = new ImageExports(
      { limits: { downloadConcurrency: 2 } } as unknown as AppConfig,
      files.store,
      files.catalog,
      { touch: (digest: Digest) => touched.push(digest) } as unknown as StoreSpace,
      {
        find: () => Promise.resolve(inRuntime ? { id: root } : undefined),
      } as unknown as RuntimeInventory,
      { open: () => Promise.resolve(Readable.from(['by the runtime'])) } as unknown as RuntimeExporter,
    );
  });
  afterEach(() => files.dispose());

  async function storeImage(): Promise<void> {
    for (const [digest, bytes] of image.blobs) await files.store.putBytes(digest, bytes);
    await files.catalog.add({
      image: NAME,
      platform: 'linux/amd64',
      root,
      mediaType: image.manifest.mediaType,
      size: image.manifestBytes.length,
      blobs: [...image.blobs].map(([digest, { length }]) => ({ digest, size: length })),
    });
  }

  it('reads what the store has, with its size, and holds it there from the question on', async () => {
    await storeImage();
    const found = await exports.find(WANTED, SIGNAL);
    expect(touched).toEqual([root]);
    const tar = await buffer(await found!.open(SIGNAL));
    expect(tar.length).toBe(found!.sizeBytes);
    found!.touch();
    expect(touched).toEqual([root, root]);
  });

  it('asks the runtime for what the store has not, or not any more', async () => {
    const found = await exports.find(WANTED, SIGNAL);
    expect(found?.sizeBytes).toBeUndefined();
    expect((await buffer(await found!.open(SIGNAL))).toString()).toBe('by the runtime');
    await storeImage();
    await new StoreInventory(files.layout).remove(root);
    expect((await exports.find(WANTED, SIGNAL))?.sizeBytes).toBeUndefined();
  });

  it('finds nothing where neither has it', async () => {
    inRuntime = false;
    expect(await exports.find(WANTED, SIGNAL)).toBeUndefined();
  });

  it('has as many places as it may, and each to leave once', () => {
    const leave = exports.tryEnter();
    expect(exports.tryEnter()).toBeDefined();
    expect(exports.tryEnter()).toBeUndefined();
    leave?.();
    leave?.();
    expect(exports.tryEnter()).toBeDefined();
    expect(exports.tryEnter()).toBeUndefined();
  });
});
