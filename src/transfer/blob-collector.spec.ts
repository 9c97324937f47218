import fc from 'fast-check';

import { VirtualClock } from '../../test/support/virtual-clock.js';
import type { Digest } from '../domain/digest.js';
import { PreheatFailure } from '../domain/errors.js';
import type { Peer } from '../peers/peer-identity.js';
import { BlobCollector, type CollectorParts, type OriginAccess } from './blob-collector.js';
import type { BlobSource, WantedBlob } from './blob-source.js';
import { Flights } from './flights.js';
import { OriginClaims } from './origin-claims.js';
import type { PeerAnswer } from './peer-sweep.js';
import { PeerSource } from './peer.source.js';

const blob = (index: number): WantedBlob => ({
  digest: `sha256:${String(index).padStart(64, '0')}`,
  size: 10,
  mediaType: 'layer',
});
const none: BlobSource = {
  kind: 'archive',
  name: 'none',
  has: () => Promise.resolve(false),
  open: () => Promise.reject(new Error()),
};

/** A cluster in memory: every call takes a random time, and the registry counts who reads what. */
class FakeCluster {
  readonly clock = new VirtualClock();
  readonly nodes = new Map<string, FakeNode>();
  readonly reads = new Map<Digest, number>();
  /** Answers `<node> <digest>` for which a peer's transfer fails. */
  readonly failing = new Set<string>();

  constructor(private readonly random: () => number) {}

  add(name: string): FakeNode {
    const node = new FakeNode(name, this);
    this.nodes.set(name, node);
    return node;
  }

  /** Most answers come fast, some take long. */
  pause(signal: AbortSignal): Promise<void> {
    const part = this.random();
    return this.clock.sleep(1 + part * (part < 0.85 ? 150 : 1200), signal);
  }
}

class FakeNode {
  readonly stored = new Set<Digest>();
  readonly claims = new OriginClaims();
  readonly flights = new Flights();

  constructor(
    readonly name: string,
    private readonly cluster: FakeCluster,
  ) {}

  get peer(): Peer {
    return {
      node: this.name,
      instance: this.name,
      platform: 'linux/amd64',
      protocol: 1,
      address: { host: '::1', port: 1 },
    };
  }

  collect(blobs: readonly WantedBlob[], holderKey?: string): Promise<'complete' | 'waiting' | 'no_source'> {
    const origin: OriginAccess = {
      source: { ...none, kind: 'registry', name: 'registry' },
      insteadOfReading: () => Promise.resolve(false),
    };
    const options = {
      image: 'image',
      claimKey: `${holderKey ?? ''} ${this.name}`,
      peers: () => [...this.cluster.nodes.values()].filter((node) => node !== this).map(({ peer }) => peer),
      ...(holderKey === undefined ? {} : { origin }),
    };
    const bringer = {
      bring: this.bring.bind(this),
      isExcluded: (wanted: WantedBlob, node: string) => this.excluded.has(`${node} ${wanted.digest}`),
    };
    return new BlobCollector(blobs, options, bringer, this.parts).collect(new AbortController().signal);
  }

  private readonly excluded = new Set<string>();

  get parts(): CollectorParts {
    const { cluster } = this;
    return {
      store: { sizeOf: (digest) => Promise.resolve(this.stored.has(digest) ? 10 : undefined) },
      peers: {
        availability: () => Promise.reject(new Error()),
        openBlob: () => Promise.reject(new Error()),
        peers: () => [...cluster.nodes.values()].map(({ peer }) => peer),
      },
      sweep: {
        availability: async (peers, _image, digests, signal) => {
          const found = new Map<Digest, PeerAnswer[]>(digests.map((digest) => [digest, []]));
          await Promise.all(
            peers.map(async (peer) => {
              await cluster.pause(signal);
              const node = cluster.nodes.get(peer.node);
              for (const digest of digests) {
                const origin = node?.claims.of(digest);
                const complete = node?.stored.has(digest) ?? false;
                if (complete || origin)
                  found.get(digest)?.push({ peer, size: 10, complete, ...(origin ? { origin } : {}) });
              }
              await cluster.pause(signal);
            }),
          );
          return found;
        },
      },
      flights: this.flights,
      claims: this.claims,
      archives: none,
      clock: cluster.clock,
    };
  }

  private async bring(wanted: WantedBlob, source: BlobSource, signal: AbortSignal): Promise<boolean> {
    const { cluster } = this;
    if (this.flights.has(wanted.digest)) return false;
    let brought = true;
    await this.flights.run(wanted.digest, async () => {
      if (!(source instanceof PeerSource))
        cluster.reads.set(wanted.digest, (cluster.reads.get(wanted.digest) ?? 0) + 1);
      await cluster.pause(signal);
      brought = !cluster.failing.has(`${source.name} ${wanted.digest}`);
      if (brought) this.stored.add(wanted.digest);
      else this.excluded.add(`${source.name} ${wanted.digest}`);
    });
    return brought;
  }
}

describe('BlobCollector', () => {
  it('has each blob read once by however many holders want it at once', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ blobs: fc.uniqueArray(fc.nat(5), { minLength: 1 }), startMs: fc.nat(2500) }), {
          minLength: 1,
          maxLength: 6,
        }),
        fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })),
        async (images, randoms) => {
          const cluster = new FakeCluster(() => randoms.next().value as number);
          const holders = images.map(({ blobs, startMs }, number) => ({
            node: cluster.add(`n${number}`),
            blobs: blobs.map(blob),
            key: `k${number}`,
            startMs,
          }));
          const outcomes = await cluster.clock.run(
            Promise.all(
              holders.map(async ({ node, blobs, key, startMs }) => {
                await cluster.clock.sleep(startMs);
                return node.collect(blobs, key);
              }),
            ),
          );
          expect(new Set(outcomes)).toEqual(new Set(['complete']));
          expect([...cluster.reads.values()].every((reads) => reads === 1)).toBe(true);
        },
      ),
      { numRuns: 1500 },
    );
  });

  it('takes everything from peers without a lease, when they have it', async () => {
    const cluster = new FakeCluster(Math.random);
    cluster.add('a').stored.add(blob(1).digest).add(blob(2).digest);
    const node = cluster.add('b');
    expect(await cluster.clock.run(node.collect([blob(1), blob(2)]))).toBe('complete');
    expect(cluster.reads.size).toBe(0);
  });

  it('says that others are at work while one reads the registry, and that nobody is when none does', async () => {
    const cluster = new FakeCluster(Math.random);
    const holder = cluster.add('a');
    const node = cluster.add('b');
    expect(await cluster.clock.run(node.collect([blob(1)]))).toBe('no_source');
    holder.claims.set(blob(1).digest, { state: 'reading', key: 'k' });
    expect(await cluster.clock.run(node.collect([blob(1)]))).toBe('waiting');
  });

  it('reads the registry when the only peer that has a blob cannot give it', async () => {
    const cluster = new FakeCluster(Math.random);
    cluster.add('a').stored.add(blob(1).digest);
    cluster.failing.add(`a ${blob(1).digest}`);
    const node = cluster.add('b');
    expect(await cluster.clock.run(node.collect([blob(1)], 'k'))).toBe('complete');
    expect(cluster.reads.get(blob(1).digest)).toBe(1);
  });

  it('drops its claims and ends its downloads when it fails', async () => {
    const cluster = new FakeCluster(Math.random);
    const node = cluster.add('a');
    const abort = new AbortController();
    const failing: OriginAccess = {
      source: none,
      insteadOfReading: () => Promise.reject(new PreheatFailure('unauthorized', 'no')),
    };
    const options = { image: 'image', claimKey: 'k', peers: () => [], origin: failing };
    const bringer = { bring: () => Promise.resolve(true), isExcluded: () => false };
    const collector = new BlobCollector([blob(1)], options, bringer, node.parts);
    await expect(cluster.clock.run(collector.collect(abort.signal))).rejects.toMatchObject({
      reason: 'unauthorized',
    });
    expect(node.claims.of(blob(1).digest)).toBeUndefined();
  });
});
