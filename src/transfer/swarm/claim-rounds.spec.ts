import fc from 'fast-check';

import { VirtualClock } from '../../../test/support/virtual-clock.js';
import type { Digest } from '../../domain/digest.js';
import { PreheatFailure } from '../../domain/errors.js';
import type { AskedBlob } from '../../peers/availability.js';
import type { Peer } from '../../peers/peer-identity.js';
import type { WantedBlob } from '../blob-source.js';
import { OriginClaims } from '../origin-claims.js';
import type { PeerAnswer } from '../peer-sweep.js';
import { ClaimRounds } from './claim-rounds.js';

const blob = (index: number): WantedBlob => ({
  digest: `sha256:${String(index).padStart(64, '0')}`,
  size: 10,
  mediaType: 'layer',
});

/** Nobody calls who is not known already. */
const KNOWN = { greeted: () => Promise.resolve() };

/** A cluster in memory: every call takes a random time, and the registry counts who reads what. */
class FakeCluster {
  readonly clock = new VirtualClock();
  readonly nodes = new Map<string, FakeNode>();
  readonly reads = new Map<Digest, number>();

  constructor(private readonly random: () => number) {}

  add(name: string): FakeNode {
    const node = new FakeNode(name, this);
    this.nodes.set(name, node);
    return node;
  }

  /** Most answers come fast, some take long. */
  pause(signal?: AbortSignal): Promise<void> {
    const part = this.random();
    return this.clock.sleep(1 + part * (part < 0.85 ? 150 : 1200), signal);
  }
}

class FakeNode {
  readonly stored = new Set<Digest>();
  readonly claims = new OriginClaims();
  /** Peers that cannot give what they have. */
  readonly unusable = new Set<string>();

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

  /** Until all of `blobs` are here: read as the rounds decide, or taken from a node that has them. */
  async hold(blobs: readonly WantedBlob[], key: string): Promise<void> {
    const { cluster } = this;
    const done = new AbortController();
    const reading = new Set<Digest>();
    const open = (): WantedBlob[] => blobs.filter(({ digest }) => !this.stored.has(digest));
    const rounds = new ClaimRounds(
      {
        image: 'image',
        claimKey: `${key} ${this.name}`,
        peers: () => [...cluster.nodes.values()].filter((node) => node !== this).map(({ peer }) => peer),
        open: () => open().filter(({ digest }) => !reading.has(digest)),
        isUsable: (_blob, { peer }) => !this.unusable.has(peer.node),
        onAnswers: (availability) => {
          for (const [digest, answers] of availability)
            if (answers.some(({ complete, peer }) => complete && !this.unusable.has(peer.node)))
              void this.take(digest);
        },
        onRead: (toRead) => {
          for (const { digest } of toRead) {
            reading.add(digest);
            cluster.reads.set(digest, (cluster.reads.get(digest) ?? 0) + 1);
            void this.take(digest).then(() => rounds.settled(digest));
          }
          return Promise.resolve();
        },
      },
      { sweep: this, peers: KNOWN, claims: this.claims, clock: cluster.clock },
    );
    const running = rounds.run(done.signal).catch(() => undefined);
    while (open().length > 0) await cluster.clock.sleep(20);
    done.abort();
    await running;
    rounds.end();
  }

  async availability(
    peers: readonly Peer[],
    _image: string,
    blobs: readonly AskedBlob[],
    signal: AbortSignal,
  ): Promise<Map<Digest, PeerAnswer[]>> {
    const { cluster } = this;
    const digests = blobs.map(({ digest }) => digest);
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
  }

  private async take(digest: Digest): Promise<void> {
    await this.cluster.pause();
    this.stored.add(digest);
  }
}

describe('ClaimRounds', () => {
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
          const holders = images.map((image, number) => ({
            ...image,
            node: cluster.add(`n${number}`),
            number,
          }));
          await cluster.clock.run(
            Promise.all(
              holders.map(async ({ node, blobs, startMs, number }) => {
                await cluster.clock.sleep(startMs);
                await node.hold(blobs.map(blob), `k${number}`);
              }),
            ),
          );
          expect([...cluster.reads.values()].every((reads) => reads === 1)).toBe(true);
          for (const { node, blobs } of holders)
            for (const index of blobs) expect(node.stored.has(blob(index).digest)).toBe(true);
        },
      ),
      { numRuns: 1500 },
    );
  }, 60_000);

  it('reads nothing that a peer has', async () => {
    const cluster = new FakeCluster(Math.random);
    cluster.add('a').stored.add(blob(1).digest).add(blob(2).digest);
    await cluster.clock.run(cluster.add('b').hold([blob(1), blob(2)], 'k'));
    expect(cluster.reads.size).toBe(0);
  });

  it('reads what the only peer that has it cannot give', async () => {
    const cluster = new FakeCluster(Math.random);
    cluster.add('a').stored.add(blob(1).digest);
    const node = cluster.add('b');
    node.unusable.add('a');
    await cluster.clock.run(node.hold([blob(1)], 'k'));
    expect(cluster.reads.get(blob(1).digest)).toBe(1);
  });

  it('asks who has called meanwhile before it reads', async () => {
    const cluster = new FakeCluster(Math.random);
    const asked: string[] = [];
    let peers: Peer[] = [];
    const rounds = new ClaimRounds(
      {
        image: 'image',
        claimKey: 'k',
        peers: () => peers,
        open: () => [blob(1)],
        isUsable: () => true,
        onAnswers: () => undefined,
        onRead: () => Promise.reject(new Error('it reads')),
      },
      {
        sweep: {
          availability: (some) => {
            asked.push(some.map(({ node }) => node).join());
            return Promise.resolve(new Map());
          },
        },
        // One calls once the blob is claimed, and takes a while to be met.
        peers: {
          greeted: async (signal) => {
            if (asked.length === 0) return;
            await cluster.clock.sleep(100, signal);
            peers = [cluster.add('late').peer];
          },
        },
        claims: new OriginClaims(),
        clock: cluster.clock,
      },
    );
    const running = rounds.run(new AbortController().signal);
    await expect(cluster.clock.run(running)).rejects.toThrow('it reads');
    expect(asked).toEqual(['', 'late']);
  });

  it('fails with what reading fails with, and takes its claims back', async () => {
    const cluster = new FakeCluster(Math.random);
    const { claims } = cluster.add('a');
    const rounds = new ClaimRounds(
      {
        image: 'image',
        claimKey: 'k',
        peers: () => [],
        open: () => [blob(1)],
        isUsable: () => true,
        onAnswers: () => undefined,
        onRead: () => Promise.reject(new PreheatFailure('unauthorized', 'no')),
      },
      {
        sweep: { availability: () => Promise.resolve(new Map()) },
        peers: KNOWN,
        claims,
        clock: cluster.clock,
      },
    );
    const running = rounds.run(new AbortController().signal);
    await expect(cluster.clock.run(running)).rejects.toMatchObject({ reason: 'unauthorized' });
    expect(claims.of(blob(1).digest)?.state).toBe('reading');
    rounds.end();
    expect(claims.of(blob(1).digest)).toBeUndefined();
  });
});
