import { wantedImage } from '../../test/support/wanted-image.js';
import type { AppConfig } from '../config/app-config.js';
import { digestOf } from '../domain/digest.js';
import { PreheatFailure } from '../domain/errors.js';
import type { MirrorServer } from '../mirror/mirror.server.js';
import type { ImageRuntime } from '../runtime/image-runtime.js';
import type { RepoDigestRestorer } from '../runtime/repo-digest-restorer.js';
import type { DiskGuard } from './disk-guard.js';
import type { EarlyPull } from './early-pull.js';
import { ImageLoader, type LoadOutcome } from './image-loader.js';

const ROOT = digestOf(Buffer.from('an index'));
const LOOPBACK = `127.0.0.1:5051/preheat/nonce@${ROOT}`;
const TAG = 'registry.example/app:1';
const BY_DIGEST = `registry.example/app@${ROOT}`;
const { signal } = new AbortController();

type Restoring = AppConfig['runtime']['restoreRepoDigests'];

describe('ImageLoader', () => {
  /** What the runtime and the registry behind it were told, in order. */
  let calls: string[];
  let missing: Set<typeof ROOT>;
  let pull: () => Promise<void>;
  let wasAsked: boolean;
  let openSessions: number;

  beforeEach(() => {
    calls = [];
    missing = new Set();
    pull = () => Promise.resolve();
    wasAsked = true;
    openSessions = 0;
  });

  function load(
    reference: string,
    restoring: Restoring = 'auto',
    resolvesLocally = false,
    begun?: EarlyPull,
  ): Promise<LoadOutcome> {
    const note = (call: string): Promise<void> => Promise.resolve(void calls.push(call));
    const runtime: Partial<ImageRuntime> = {
      pull: async (name) => {
        await note(`pull ${name}`);
        await pull();
      },
      tag: (source, target) => note(`tag ${source} ${target}`),
      untag: (name) => note(`untag ${name}`),
    };
    const restorer: RepoDigestRestorer = {
      restoreLocally: async (name) => {
        await note(`name ${name}`);
        return resolvesLocally;
      },
      restore: (name) => note(`ask the registry for ${name}`),
    };
    const mirror: Partial<MirrorServer> = {
      open: () => {
        openSessions += 1;
        return { name: LOOPBACK, missing, wasAsked, close: () => (openSessions -= 1) };
      },
    };
    const config = { runtime: { restoreRepoDigests: restoring } };
    const loader = new ImageLoader(
      config as AppConfig,
      runtime as ImageRuntime,
      restorer,
      mirror as MirrorServer,
      { over: () => runtime as ImageRuntime } as unknown as DiskGuard,
    );
    const source = { root: ROOT, digest: ROOT };
    return loader.load(wantedImage(reference), source, signal, () => undefined, begun);
  }

  afterEach(() => expect(openSessions).toBe(0));

  it('gives a tag its name before the name of the pull goes, and asks for no digest', async () => {
    expect(await load(TAG)).toEqual({ kind: 'loaded' });
    expect(calls).toEqual([`pull ${LOOPBACK}`, `tag ${LOOPBACK} ${TAG}`, `untag ${LOOPBACK}`]);
  });

  it.each(['auto', 'always', 'never'] as const)(
    'with RESTORE_REPO_DIGESTS=%s takes the name of the pull away once a digest resolves, and never tags',
    async (restoring) => {
      expect(await load(`${TAG}@${ROOT}`, restoring, true)).toEqual({ kind: 'loaded' });
      expect(calls).toEqual([`pull ${LOOPBACK}`, `name ${BY_DIGEST}`, `untag ${LOOPBACK}`]);
    },
  );

  it.each([
    ['auto', /not yet by its digest/],
    ['always', /not yet by its digest/],
    ['never', /not by its digest: RESTORE_REPO_DIGESTS is never/],
  ] as const)(
    'with RESTORE_REPO_DIGESTS=%s leaves the only name to what does not resolve, and asks no registry',
    async (restoring, message) => {
      const outcome = await load(BY_DIGEST, restoring);
      expect(outcome).toEqual({ kind: 'loaded', message: expect.stringMatching(message) as string });
      expect(calls).toEqual([`pull ${LOOPBACK}`, `name ${BY_DIGEST}`]);
    },
  );

  it.each([
    ['auto', false],
    ['always', true],
    ['never', false],
  ] as const)('with RESTORE_REPO_DIGESTS=%s wants the digest of a tag: %s', async (restoring, wants) => {
    const outcome = await load(TAG, restoring);
    expect(calls.includes(`name ${BY_DIGEST}`)).toBe(wants);
    expect('message' in outcome).toBe(wants);
  });

  it('names what a pull that began early has brought, without another one', async () => {
    const early: Partial<EarlyPull> = { finish: () => Promise.resolve('an early name') };
    expect(await load(TAG, 'auto', false, early as EarlyPull)).toEqual({ kind: 'loaded' });
    expect(calls).toEqual([`tag an early name ${TAG}`, 'untag an early name']);
  });

  it('pulls again where a pull that began early has failed', async () => {
    const early: Partial<EarlyPull> = { finish: () => Promise.resolve(undefined) };
    expect(await load(TAG, 'auto', false, early as EarlyPull)).toEqual({ kind: 'loaded' });
    expect(calls).toEqual([`pull ${LOOPBACK}`, `tag ${LOOPBACK} ${TAG}`, `untag ${LOOPBACK}`]);
  });

  it('says what the runtime asked for and did not get, when the pull failed', async () => {
    const cause = new Error('manifest unknown');
    pull = () => {
      missing.add(ROOT);
      return Promise.reject(cause);
    };
    expect(await load(TAG)).toEqual({ kind: 'incomplete', missing: [ROOT], cause });
    expect(calls).toEqual([`pull ${LOOPBACK}`]);
  });

  it('fails as the runtime does where nothing was missing', async () => {
    pull = () => Promise.reject(new Error('no space'));
    await expect(load(TAG)).rejects.toThrow('no space');
    expect(calls).toEqual([`pull ${LOOPBACK}`]);
  });

  it.each([
    ['runtime_error', /did not come to the agent's mirror .*; it says: not found/],
    ['runtime_unreachable', /^not found$/],
  ] as const)(
    'says of a pull that never came to the mirror where it may have gone: %s',
    async (reason, message) => {
      wasAsked = false;
      pull = () => Promise.reject(new PreheatFailure(reason, 'not found'));
      await expect(load(TAG)).rejects.toMatchObject({
        reason,
        message: expect.stringMatching(message) as string,
      });
    },
  );
});
