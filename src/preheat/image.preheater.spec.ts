import { VirtualClock } from '../../test/support/virtual-clock.js';
import type { Digest } from '../domain/digest.js';
import { PreheatFailure } from '../domain/errors.js';
import { parseImageReference } from '../domain/image-reference.js';
import type { LockService } from '../lock/lock.service.js';
import type { RecordView } from '../lock/record-view.js';
import type { TransferOutcome } from '../transfer/transfer-request.js';
import type { DigestResolver } from './digest-resolver.js';
import type { HolderRun } from './holder-run.js';
import type { ImageLoader, LoadOutcome } from './image-loader.js';
import { ImagePreheater } from './image.preheater.js';
import type { ImageSession } from './image-session.js';
import type { StatusStore } from './status.store.js';
import type { WantedImage } from './wanted-image.js';

const digest: Digest = `sha256:${'a'.repeat(64)}`;
const unknown: RecordView = { stale: false, unknownVersion: false, readOnly: false };
const somebody = { node: 'n', instance: 'n-1', address: 'n:8080', mine: false };
const complete: TransferOutcome = { kind: 'complete', root: digest };

/** Plays a script: what the record says, what peers and the lock give, one after the other; the last one repeats. */
class Script {
  readonly clock = new VirtualClock();
  readonly attempts: Digest[] = [];
  archived: Digest | undefined;
  /** What a try for the lock has seen of the record. */
  seen = unknown;
  holderRuns = 0;
  loaded: Digest | undefined;
  /** What the runtime answers to each load; after the last one it is content. */
  readonly loads: LoadOutcome[] = [];
  /** Manifests beside the plan that were brought, by whom. */
  readonly included: string[] = [];
  peersInclude = false;
  /** Whether each try for the lock, to bring such a manifest, gets it; the last one does. */
  readonly holderIncludes: boolean[] = [];

  constructor(
    private readonly views: RecordView[],
    private readonly peers: TransferOutcome[],
    private readonly holder: (TransferOutcome | undefined)[],
    private readonly reference = 'nginx',
  ) {}

  run(): Promise<string | undefined> {
    const reference = parseImageReference(this.reference);
    const wanted: WantedImage = {
      image: 'i',
      reference,
      platform: { os: 'linux', architecture: 'amd64' },
      priority: 0,
      timeoutMs: 1000,
    };
    const session: Pick<ImageSession, 'wanted' | 'attempt' | 'include' | 'inSlot' | 'progress' | 'digest'> = {
      wanted,
      digest,
      progress: { bytesDone: 0, bytesTotal: 0, source: 'store' },
      attempt: (asked) => {
        this.attempts.push(asked);
        return Promise.resolve(next(this.peers));
      },
      include: () => {
        if (!this.peersInclude) return Promise.reject(new PreheatFailure('no_source', 'no peer has it'));
        this.included.push('peers');
        return Promise.resolve();
      },
      inSlot: (signal, work) => work(signal),
    };
    const lock: Pick<LockService, 'lookup' | 'known' | 'pollIntervalMs'> = {
      lookup: () => Promise.resolve(next(this.views)),
      known: () => this.seen,
      pollIntervalMs: (eager) => (eager ? 300 : 2000),
    };
    const holder: Pick<HolderRun, 'attempt' | 'include'> = {
      include: () => {
        const isIncluded = this.holderIncludes.shift() ?? true;
        if (isIncluded) this.included.push('holder');
        return Promise.resolve(isIncluded);
      },
      attempt: () => {
        this.holderRuns += 1;
        return Promise.resolve(next(this.holder));
      },
    };
    const resolver: Pick<DigestResolver, 'fromArchive'> = {
      fromArchive: () => Promise.resolve(this.archived),
    };
    const loader: Pick<ImageLoader, 'load'> = {
      load: (_wanted, { root }) => {
        this.loaded = root;
        return Promise.resolve(this.loads.shift() ?? { kind: 'loaded' });
      },
    };
    const status: Pick<StatusStore, 'enter'> = { enter: () => undefined };
    const preheater = new ImagePreheater(
      lock as LockService,
      resolver as DigestResolver,
      holder as HolderRun,
      loader as ImageLoader,
      status as StatusStore,
      this.clock,
    );
    return this.clock.run(preheater.preheat(session as ImageSession, new AbortController().signal));
  }
}

function next<T>(script: T[]): T {
  return (script.length > 1 ? script.shift() : script[0]) as T;
}

describe('ImagePreheater', () => {
  it('loads what the peers have without touching the lock', async () => {
    const script = new Script([{ ...unknown, digest }], [complete], []);
    await script.run();
    expect(script).toMatchObject({ loaded: digest, holderRuns: 0 });
  });

  it('waits as long as others bring what is missing', async () => {
    const waiting: TransferOutcome = { kind: 'waiting' };
    const script = new Script([{ ...unknown, digest }], [waiting, waiting, waiting, complete], []);
    await script.run();
    expect(script).toMatchObject({ loaded: digest, holderRuns: 0 });
    expect(script.attempts).toHaveLength(4);
  });

  it('tries for the lock when nobody has the image, again and again until someone gets it', async () => {
    const script = new Script(
      [{ ...unknown, digest }],
      [{ kind: 'no_source' }],
      [undefined, undefined, complete],
    );
    await script.run();
    expect(script).toMatchObject({ loaded: digest, holderRuns: 3 });
    expect(script.clock.monotonicMs()).toBe(4000);
  });

  it('goes by what a lost try for the lock has seen, at once', async () => {
    const seen = { ...unknown, digest, holder: somebody };
    const script = new Script([unknown, seen], [complete], [undefined]);
    script.seen = seen;
    await script.run();
    expect(script).toMatchObject({ loaded: digest, holderRuns: 1 });
    expect(script.clock.monotonicMs()).toBe(0);
  });

  it('looks sooner again while a holder has just begun, but not for long', async () => {
    const held = { ...unknown, holder: somebody };
    const brief = new Script([held, held, { ...held, digest }], [complete], [undefined]);
    brief.seen = held;
    await brief.run();
    expect(brief.clock.monotonicMs()).toBe(600);
    const views = Array.from({ length: 22 }, () => held);
    const long = new Script([...views, { ...held, digest }], [complete], [undefined]);
    long.seen = held;
    await long.run();
    expect(long.clock.monotonicMs()).toBe(20 * 300 + 2 * 2000);
  });

  it('asks nobody for a tag that no record explains, but the lock', async () => {
    const script = new Script([unknown], [], [complete]);
    await script.run();
    expect(script.attempts).toEqual([]);
    expect(script.holderRuns).toBe(1);
  });

  it('has a stale digest checked before it is used, unless the lock cannot be asked', async () => {
    const stale = { ...unknown, digest, stale: true };
    const checked = new Script([stale], [complete], [complete]);
    await checked.run();
    expect(checked).toMatchObject({ attempts: [], holderRuns: 1 });
    const offline = new Script([{ ...stale, readOnly: true }], [complete], []);
    await offline.run();
    expect(offline).toMatchObject({ loaded: digest, holderRuns: 0 });
  });

  it('goes by a stale digest at once when it has just been checked in vain', async () => {
    const stale = { ...unknown, digest, stale: true };
    const failure = { reason: 'rate_limited' as const, retryAfterMs: 60_000 };
    const script = new Script([stale, { ...stale, failure }], [complete], [{ kind: 'no_source' }]);
    await script.run();
    expect(script).toMatchObject({ loaded: digest, holderRuns: 1 });
    expect(script.clock.monotonicMs()).toBe(0);
  });

  it("goes by the entry's own digest, whatever the record says", async () => {
    const other: Digest = `sha256:${'b'.repeat(64)}`;
    const script = new Script([{ ...unknown, digest }], [complete], [], `nginx@${other}`);
    await script.run();
    expect(script.attempts).toEqual([other]);
  });

  it("fails with the cluster's failure while it is to be waited out, but takes what peers have", async () => {
    const failure = { reason: 'unauthorized' as const, retryAfterMs: 60_000 };
    const refused = new Script([{ ...unknown, failure }], [], []);
    await expect(refused.run()).rejects.toMatchObject({ reason: 'unauthorized', retryAfterMs: 60_000 });
    expect(refused.holderRuns).toBe(0);
    const had = new Script([{ ...unknown, digest, failure }], [complete], []);
    await had.run();
    expect(had.loaded).toBe(digest);
  });

  it('speaks for the tag all the same where an archive of this node explains it', async () => {
    const failure = { reason: 'registry_unreachable' as const, retryAfterMs: 60_000 };
    const script = new Script([{ ...unknown, failure }], [], [complete]);
    script.archived = digest;
    await script.run();
    expect(script).toMatchObject({ loaded: digest, holderRuns: 1 });
  });

  it('never reads the registry without the lock', async () => {
    const script = new Script([{ ...unknown, digest, readOnly: true }], [{ kind: 'no_source' }], [complete]);
    await expect(script.run()).rejects.toMatchObject({ reason: 'lock_unavailable' });
    expect(script.holderRuns).toBe(0);
  });

  describe('when the runtime asks for a manifest beside the plan', () => {
    const incomplete: LoadOutcome = { kind: 'incomplete', missing: [digest], cause: new Error('not there') };

    const loading = (...loads: LoadOutcome[]): Script => {
      const script = new Script([{ ...unknown, digest }], [complete], []);
      script.loads.push(...loads);
      return script;
    };

    it('takes it from a peer, and loads once more', async () => {
      const script = loading(incomplete);
      script.peersInclude = true;
      await script.run();
      expect(script).toMatchObject({ loaded: digest, included: ['peers'] });
    });

    it('reads it with the lock where no peer has it, as soon as the lock is to be had', async () => {
      const script = loading(incomplete);
      script.holderIncludes.push(false, false);
      await script.run();
      expect(script).toMatchObject({ loaded: digest, included: ['holder'] });
      expect(script.clock.monotonicMs()).toBe(4000);
    });

    it('fails with what the runtime said when it is still not content', async () => {
      await expect(loading(incomplete, incomplete).run()).rejects.toThrow('not there');
    });
  });
});
