import { wantedImage } from '../../test/support/wanted-image.js';
import { abandonable } from '../common/abandonable.js';
import { type Digest, digestOf } from '../domain/digest.js';
import { PreheatFailure } from '../domain/errors.js';
import type { Lease } from '../lock/lease.js';
import type { RecordView } from '../lock/record-view.js';
import type { RegistryClient } from '../registry/registry-client.js';
import type { ArchiveIndex } from '../transfer/archive/archive-index.js';
import { DigestResolver } from './digest-resolver.js';

const TAG = wantedImage('registry.example/app:1');
const OF_REGISTRY = digestOf(Buffer.from('of the registry'));
const OF_ARCHIVE = digestOf(Buffer.from('of the archive'));
const STALE: RecordView = {
  digest: OF_ARCHIVE,
  origin: 'archive',
  stale: true,
  unknownVersion: false,
  readOnly: false,
};
const { signal } = new AbortController();

describe('DigestResolver', () => {
  let questions: number;
  let answer: () => Promise<Digest>;
  let archived: Digest | undefined;
  let published: [Digest, string][];
  let mayRead: boolean;
  let resolver: DigestResolver;
  let lease: Lease;

  beforeEach(() => {
    questions = 0;
    answer = () => Promise.resolve(OF_REGISTRY);
    archived = undefined;
    published = [];
    mayRead = true;
    const registry: Partial<RegistryClient> = {
      resolve: async (_reference, limited) => {
        questions += 1;
        return { digest: await abandonable(answer(), limited), mediaType: '', size: 1 };
      },
    };
    const archives = { find: () => Promise.resolve(archived && { root: archived }) };
    resolver = new DigestResolver(registry as RegistryClient, archives as unknown as ArchiveIndex);
    lease = {
      key: { image: TAG.image, platform: 'linux/amd64' },
      signal,
      mayReadRegistry: () => mayRead,
      publish: (digest, origin) => Promise.resolve(void published.push([digest, origin])),
      succeed: () => Promise.resolve(),
      fail: () => Promise.resolve(),
      release: () => Promise.resolve(),
    };
  });

  const failing = (reason: PreheatFailure['reason']) => () =>
    Promise.reject(new PreheatFailure(reason, 'as told'));

  it('asks the registry once and publishes what it says', async () => {
    expect(await resolver.resolve(TAG, lease, undefined, signal)).toBe(OF_REGISTRY);
    expect(published).toEqual([[OF_REGISTRY, 'registry']]);
    expect(questions).toBe(1);
  });

  it('gives up a registry whose answer does not end: others are waiting for the lock', async () => {
    jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask'] });
    try {
      answer = () => new Promise(() => undefined);
      const resolving = resolver.resolve({ ...TAG, timeoutMs: 20_000 }, lease, undefined, signal);
      const failed = expect(resolving).rejects.toMatchObject({ reason: 'timeout' });
      await jest.advanceTimersByTimeAsync(20_000);
      await failed;
      expect(published).toEqual([]);
    } finally {
      jest.useRealTimers();
    }
  });

  it('goes by an archive where nothing is known, and asks nobody', async () => {
    archived = OF_ARCHIVE;
    expect(await resolver.resolve(TAG, lease, undefined, signal)).toBe(OF_ARCHIVE);
    expect(published).toEqual([[OF_ARCHIVE, 'archive']]);
    expect(questions).toBe(0);
  });

  it('lets no archive decide about a tag that the registry has spoken for', async () => {
    archived = OF_ARCHIVE;
    const known: RecordView = { ...STALE, digest: OF_REGISTRY, origin: 'registry' };
    answer = failing('not_found');
    await expect(resolver.resolve(TAG, lease, known, signal)).rejects.toMatchObject({ reason: 'not_found' });
    expect(published).toEqual([]);
  });

  it('confirms what an archive said when the registry does not know the image, and only then', async () => {
    answer = failing('unauthorized');
    expect(await resolver.resolve(TAG, lease, STALE, signal)).toBe(OF_ARCHIVE);
    expect(published).toEqual([[OF_ARCHIVE, 'archive']]);
    for (const reason of ['registry_unreachable', 'rate_limited'] as const) {
      answer = failing(reason);
      await expect(resolver.resolve(TAG, lease, STALE, signal)).rejects.toMatchObject({ reason });
    }
    expect(published).toHaveLength(1);
  });

  it('asks nothing with a lease that is lost', async () => {
    mayRead = false;
    await expect(resolver.resolve(TAG, lease, undefined, signal)).rejects.toMatchObject({
      reason: 'lock_unavailable',
    });
    expect(questions).toBe(0);
  });
});
