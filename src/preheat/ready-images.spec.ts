import { wantedImage } from '../../test/support/wanted-image.js';
import type { AppConfig } from '../config/app-config.js';
import { digestOf } from '../domain/digest.js';
import type { RuntimeImage, RuntimeSnapshot } from '../runtime/image-runtime.js';
import { LoopbackNames } from '../runtime/loopback-names.js';
import type { ImageRuntime } from '../runtime/image-runtime.js';
import type { RepoDigestRestorer } from '../runtime/repo-digest-restorer.js';
import type { ImageCatalog } from '../store/image-catalog.js';
import type { DriftCheck, Meaning } from './drift-check.js';
import type { ImageStatus, StatusDetails } from './image-status.js';
import { type Presence, ReadyImages } from './ready-images.js';
import type { StatusStore } from './status.store.js';
import type { WantedImage } from './wanted-image.js';

const DIGEST = digestOf(Buffer.from('an index'));
const DERIVED = digestOf(Buffer.from('a manifest made up around its config'));
const ID = digestOf(Buffer.from('a config'));
const TAG = wantedImage('registry.example/app:1');
const ENTRY = wantedImage(`registry.example/app@${DIGEST}`);
const BY_DIGEST = `registry.example/app@${DIGEST}`;
const { signal } = new AbortController();

type Restoring = AppConfig['runtime']['restoreRepoDigests'];

describe('ReadyImages', () => {
  let meaning: Meaning;
  let resolvesLocally: boolean;
  let catalogued: { root: typeof DIGEST; blobs: { digest: typeof DIGEST }[] } | undefined;
  /** What was entered as the image's state. */
  let shown: [ImageStatus['state'], StatusDetails] | undefined;
  let askedLocally: string[];

  beforeEach(() => {
    meaning = {};
    resolvesLocally = false;
    catalogued = shown = undefined;
    askedLocally = [];
  });

  function recognise(
    wanted: WantedImage,
    names: readonly string[],
    restoring: Restoring = 'auto',
    identifiesBy: RuntimeSnapshot['identifiesBy'] = 'config',
  ): Promise<Presence> {
    const config = { runtime: { restoreRepoDigests: restoring }, mirrorPort: 5051 } as AppConfig;
    const status = {
      enter: (_key: unknown, state: ImageStatus['state'], details: StatusDetails) =>
        (shown = [state, details]),
    };
    const restorer: Partial<RepoDigestRestorer> = {
      restoreLocally: (name) => {
        askedLocally.push(name);
        return Promise.resolve(resolvesLocally);
      },
    };
    const drift: Partial<DriftCheck> = { meaningOf: () => Promise.resolve(meaning) };
    const catalog = { find: () => catalogued };
    const images = new Map(names.map((name): [string, RuntimeImage] => [name, { id: ID }]));
    return new ReadyImages(
      config,
      status as unknown as StatusStore,
      catalog as unknown as ImageCatalog,
      drift as DriftCheck,
      new LoopbackNames({} as ImageRuntime, config),
      restorer as RepoDigestRestorer,
    ).recognise(wanted, { identifiesBy, images }, signal);
  }

  it('takes an image for ready that the runtime has by its name, drifted or not', async () => {
    meaning = { digest: DIGEST, drift: true };
    expect(await recognise(TAG, ['registry.example/app:1'])).toEqual({ kind: 'ready' });
    expect(shown).toEqual(['ready', { digest: DIGEST, drift: true }]);
    expect(askedLocally).toEqual([]);
  });

  it('takes it for missing otherwise, and says nothing', async () => {
    expect(await recognise(TAG, ['registry.example/app:2'])).toEqual({ kind: 'missing' });
    expect(await recognise(ENTRY, ['registry.example/app:1'])).toEqual({ kind: 'missing' });
    expect(shown).toBeUndefined();
  });

  describe('with a digest entry that the runtime has by the name of its pull alone', () => {
    const names = [`127.0.0.1:5051/preheat/nonce@${DIGEST}`];

    it('calls it ready, and says that its digest is to come', async () => {
      expect(await recognise(ENTRY, names)).toEqual({ kind: 'unnamed', digest: DIGEST });
      expect(shown).toEqual([
        'ready',
        { digest: DIGEST, message: expect.stringMatching(/not yet/) as string },
      ]);
    });

    it('is content with RESTORE_REPO_DIGESTS=never', async () => {
      expect(await recognise(ENTRY, names, 'never')).toEqual({ kind: 'ready' });
      expect(shown?.[1].message).toMatch(/RESTORE_REPO_DIGESTS is never/);
    });

    it('is content when the runtime resolves the digest all the same', async () => {
      resolvesLocally = true;
      expect(await recognise(ENTRY, names)).toEqual({ kind: 'ready' });
      expect(shown).toEqual(['ready', { digest: DIGEST }]);
    });

    it('knows it also by what was pulled in its place', async () => {
      const derived = [`127.0.0.1:5051/preheat/nonce@${DERIVED}`];
      expect((await recognise(ENTRY, derived)).kind).toBe('missing');
      catalogued = { root: DIGEST, blobs: [{ digest: DIGEST }, { digest: DERIVED }] };
      expect((await recognise(ENTRY, derived)).kind).toBe('unnamed');
      catalogued = { root: ID, blobs: [{ digest: DERIVED }] };
      expect((await recognise(ENTRY, derived)).kind).toBe('missing');
    });

    it('takes no other name that ends in it for its own', async () => {
      expect((await recognise(ENTRY, [`127.0.0.1:5000/preheat/nonce@${DIGEST}`])).kind).toBe('missing');
    });
  });

  it.each<[string, Meaning, Restoring, string[], 'config' | 'manifest', Presence['kind']]>([
    ['with always', { digest: DIGEST, drift: false }, 'always', [], 'config', 'unnamed'],
    ['with auto', { digest: DIGEST, drift: false }, 'auto', [], 'config', 'ready'],
    ['with never', { digest: DIGEST, drift: false }, 'never', [], 'config', 'ready'],
    ['when it resolves', { digest: DIGEST, drift: false }, 'always', [BY_DIGEST], 'config', 'ready'],
    ['when it has drifted', { digest: DIGEST, drift: true }, 'always', [], 'config', 'ready'],
    ['when nobody knows whether it has', { digest: DIGEST }, 'always', [], 'config', 'ready'],
    [
      'of a runtime that goes by manifests',
      { digest: DIGEST, drift: false },
      'always',
      [],
      'manifest',
      'ready',
    ],
  ])('the digest of a tag, %s', async (_what, known, restoring, names, identifiesBy, kind) => {
    meaning = known;
    const found = await recognise(TAG, ['registry.example/app:1', ...names], restoring, identifiesBy);
    expect(found.kind).toBe(kind);
  });
});
