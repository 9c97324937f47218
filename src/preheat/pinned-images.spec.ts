import { wantedImage } from '../../test/support/wanted-image.js';
import { PreheatFailure } from '../domain/errors.js';
import type { ImagePinner } from '../runtime/image-pinner.js';
import type { RuntimeImage, RuntimeSnapshot } from '../runtime/image-runtime.js';
import { PinnedImages } from './pinned-images.js';
import { idOf, type WantedImage } from './wanted-image.js';
import type { WantedImages } from './wanted-images.js';

const { signal } = new AbortController();
const DIGEST = `sha256:${'a'.repeat(64)}` as const;
const LISTED = wantedImage('registry.example/listed:1');
const BY_DIGEST = wantedImage(`registry.example/digest:1@${DIGEST}`);
const ABSENT = wantedImage('registry.example/absent:1');
const REQUESTED = wantedImage('registry.example/requested:1');

describe('PinnedImages', () => {
  const snapshot: RuntimeSnapshot = {
    identifiesBy: 'manifest',
    images: new Map<string, RuntimeImage>(
      [LISTED.image, `registry.example/digest@${DIGEST}`, REQUESTED.image, 'registry.example/other:1'].map(
        (name) => [name, { id: DIGEST }],
      ),
    ),
  };
  let calls: string[];
  let failure: Error | undefined;

  function pinnedImages(pinImages: boolean): PinnedImages {
    const pinner: ImagePinner = {
      pin(names) {
        calls.push(`pin ${[...names].join(' ')}`);
        return failure ? Promise.reject(failure) : Promise.resolve();
      },
      unpinAllBut: (names) => Promise.resolve(void calls.push(`unpin all but ${[...names].join(' ')}`)),
    };
    const listed = new Set([LISTED, BY_DIGEST, ABSENT].map(idOf));
    const wanted: Partial<WantedImages> = {
      all: () => [LISTED, BY_DIGEST, ABSENT, REQUESTED],
      isListed: (image: WantedImage) => listed.has(idOf(image)),
    };
    return new PinnedImages({ runtime: { pinImages } } as never, pinner, wanted as WantedImages);
  }

  beforeEach(() => {
    calls = [];
    failure = undefined;
  });

  it('pins what the list names and the runtime has, under the name it must have, and nothing else', async () => {
    await pinnedImages(true).keep(snapshot, signal);
    const [tag, digest] = [LISTED.image, `registry.example/digest@${DIGEST}`];
    expect(calls).toEqual([`pin ${tag} ${digest}`, `unpin all but ${tag} ${digest} ${ABSENT.image}`]);
  });

  it('lets go of all pins where they are not wanted', async () => {
    const pinned = pinnedImages(false);
    await pinned.add(LISTED, signal);
    expect(calls).toEqual([]);
    await pinned.keep(snapshot, signal);
    expect(calls).toEqual(['unpin all but ']);
  });

  it('pins an image as soon as it is there, if it is listed, and leaves it ready when that fails', async () => {
    const pinned = pinnedImages(true);
    failure = new PreheatFailure('runtime_unreachable', 'down');
    await pinned.add(LISTED, signal);
    await pinned.add(REQUESTED, signal);
    expect(calls).toEqual([`pin ${LISTED.image}`]);
  });
});
