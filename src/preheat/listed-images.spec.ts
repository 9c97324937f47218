import { TINY_PLATFORM } from '../../test/support/tiny-image.js';
import { parseImageReference } from '../domain/image-reference.js';
import type { RuntimeImage, RuntimeSnapshot } from '../runtime/image-runtime.js';
import type { CatalogImage } from '../store/catalog-image.js';
import type { ImageCatalog } from '../store/image-catalog.js';
import { ListedImages } from './listed-images.js';
import type { RuntimeInventory } from './runtime-inventory.js';
import type { WantedImages } from './wanted-images.js';

const SIGNAL = new AbortController().signal;
const NAME = 'docker.io/library/app:1';
const CONFIG = `sha256:${'c'.repeat(64)}` as const;
const INDEX = `sha256:${'1'.repeat(64)}` as const;
const EARLIER = `sha256:${'0'.repeat(64)}` as const;

describe('ListedImages', () => {
  function listedImages(
    identifiesBy: RuntimeSnapshot['identifiesBy'],
    images: Record<string, RuntimeImage>,
    stored?: Pick<CatalogImage, 'root' | 'derived'>,
  ): ListedImages {
    const snapshot: RuntimeSnapshot = { identifiesBy, images: new Map(Object.entries(images)) };
    const wanted = {
      image: NAME,
      reference: parseImageReference(NAME),
      platform: TINY_PLATFORM,
      priority: 0,
      timeoutMs: 1,
    };
    return new ListedImages(
      { find: (image: string) => (image === NAME ? wanted : undefined) } as unknown as WantedImages,
      { snapshot: () => Promise.resolve(snapshot) } as unknown as RuntimeInventory,
      {
        find: (image: string, platform: string) =>
          image === NAME && platform === 'linux/amd64' ? stored : undefined,
      } as unknown as ImageCatalog,
    );
  }

  it.each([
    [
      'its config, of a runtime that knows it by that',
      'config',
      { id: CONFIG, digest: INDEX },
      { config: CONFIG },
    ],
    ['its manifest or index, of one that knows it by that', 'manifest', { id: INDEX }, { manifest: INDEX }],
  ] as const)('names an image by %s', async (_, identifiesBy, image, holding) => {
    const view = listedImages(identifiesBy, { [NAME]: image });
    expect(await view.present([NAME], SIGNAL)).toEqual(new Map([[NAME, holding]]));
  });

  it('says nothing of images that nobody named, or that the runtime has not', async () => {
    const other = 'docker.io/library/other:1';
    const view = listedImages('config', { [other]: { id: CONFIG } });
    expect(await view.present([NAME, other], SIGNAL)).toEqual(new Map());
  });

  it('says what the store has, which is what an export would be', async () => {
    const view = listedImages('config', { [NAME]: { id: CONFIG } }, { root: EARLIER });
    expect(await view.present([NAME], SIGNAL)).toEqual(new Map([[NAME, { manifest: EARLIER }]]));
    const repacked = listedImages('config', { [NAME]: { id: CONFIG } }, { root: EARLIER, derived: INDEX });
    expect(await repacked.present([NAME], SIGNAL)).toEqual(new Map([[NAME, { config: CONFIG }]]));
  });
});
