import fc from 'fast-check';

import { ChunkMap } from '../../domain/chunk-map.js';
import type { Digest } from '../../domain/digest.js';
import { LONE_REQUESTS, MAX_REQUESTS, planRequests } from './chunk-scheduler.js';
import type { ChunkInFlight, ChunkRequest, Holding, Neighbour, SwarmView } from './swarm-view.js';

const MIB = 1024 * 1024;
const SELF = 'self';
const digestOf = (number: number): Digest => `sha256:${String(number).padStart(64, '0')}`;

function mapOf(length: number, indexes: Iterable<number>): ChunkMap {
  const map = new ChunkMap(length);
  for (const index of indexes) if (index < length) map.add(index);
  return map;
}

interface HoldingOptions {
  readonly isSource?: boolean;
  readonly isOrigin?: boolean;
  readonly swarm?: readonly string[];
  readonly sent?: ChunkMap;
  readonly seenMs?: number;
}

function holding(
  chunks: ChunkMap,
  { seenMs = 0, isSource, isOrigin, ...more }: HoldingOptions = {},
): Holding {
  return {
    chunks,
    isSource: isSource ?? false,
    isOrigin: isOrigin ?? false,
    seenAtMs: () => seenMs,
    ...more,
  };
}

function neighbour(
  id: string,
  holdings: readonly [Digest, Holding][],
  more: Partial<Neighbour> = {},
): Neighbour {
  return {
    id,
    isReachable: true,
    mayBeAsked: true,
    isSlow: false,
    rate: undefined,
    holdings: new Map(holdings),
    ...more,
  };
}

const chunkIndexes = fc.uniqueArray(fc.nat(11), { maxLength: 12 });
const names = fc.subarray([SELF, 'n1', 'n2', 'n3'], { minLength: 1 });
const view = fc
  .record({
    lengths: fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 3 }),
    mine: fc.array(chunkIndexes, { minLength: 3, maxLength: 3 }),
    reserved: fc.array(chunkIndexes, { minLength: 3, maxLength: 3 }),
    neighbours: fc.array(
      fc.record({
        chunks: fc.array(fc.option(chunkIndexes), { minLength: 3, maxLength: 3 }),
        isSource: fc.boolean(),
        isOrigin: fc.boolean(),
        swarm: fc.option(names, { nil: undefined }),
        isReachable: fc.boolean(),
        mayBeAsked: fc.boolean(),
        isSlow: fc.boolean(),
        rate: fc.option(fc.double({ min: 1, max: 1000, noNaN: true }), { nil: undefined }),
      }),
      { maxLength: 9 },
    ),
    flying: fc.array(fc.tuple(fc.nat(2), fc.nat(11), fc.nat(8), fc.nat(20_000)), { maxLength: 6 }),
    idleSinceMs: fc.option(fc.nat(20_000), { nil: undefined }),
    newsMs: fc.nat(20_000),
    usualMs: fc.nat(5000),
  })
  .map(({ lengths, mine, reserved, neighbours, flying, idleSinceMs, newsMs, usualMs }): SwarmView => {
    const wanted = lengths.map((length, number) => ({
      digest: digestOf(number),
      size: length * MIB,
      mine: mapOf(length, mine[number] ?? []),
      isReserved: (index: number) => reserved[number]?.includes(index) ?? false,
    }));
    const views = neighbours.map(({ chunks, isSource, isOrigin, swarm, ...more }, position) =>
      neighbour(
        `n${position}`,
        lengths.flatMap((length, number): [Digest, Holding][] => {
          const has = chunks[number];
          const options = { isSource, isOrigin: isSource && isOrigin, ...(swarm ? { swarm } : {}) };
          return has ? [[digestOf(number), holding(mapOf(length, has), options)]] : [];
        }),
        more,
      ),
    );
    const busy = new Set<string>();
    const inFlight = flying.flatMap(([number, index, peer, startedMs]): ChunkInFlight[] => {
      const id = `n${peer}`;
      if (number >= lengths.length || index >= (lengths[number] ?? 0) || busy.has(id)) return [];
      busy.add(id);
      return [{ digest: digestOf(number), index, peer: id, startedMs, isOwned: false }];
    });
    return { self: SELF, wanted, neighbours: views, inFlight, idleSinceMs, newsMs, usualMs };
  });

const keyOf = ({ digest, index }: ChunkRequest): string => `${digest} ${index}`;

describe('planRequests', () => {
  it('asks no peer for what it lacks, or while it is busy, nor more than there are slots', () => {
    fc.assert(
      fc.property(view, fc.nat(30_000), (given, nowMs) => {
        const requests = planRequests(given, nowMs);
        expect(requests.length + given.inFlight.length).toBeLessThanOrEqual(
          Math.max(MAX_REQUESTS, given.inFlight.length),
        );
        const peers = [...given.inFlight, ...requests].map(({ peer }) => peer);
        const holders = given.neighbours.filter(
          ({ isReachable, holdings }) => isReachable && holdings.size > 0,
        );
        const most = holders.length === 1 ? LONE_REQUESTS : 1;
        for (const peer of peers)
          expect(peers.filter((one) => one === peer).length).toBeLessThanOrEqual(most);
        for (const { digest, index, peer } of requests) {
          const asked = given.neighbours.find(({ id }) => id === peer);
          expect(asked?.mayBeAsked && asked.isReachable).toBe(true);
          expect(asked?.holdings.get(digest)?.chunks.has(index)).toBe(true);
          const blob = given.wanted.find((wanted) => wanted.digest === digest);
          expect(blob?.mine.has(index)).toBe(false);
          expect(blob?.isReserved(index)).toBe(false);
        }
      }),
      { numRuns: 2000 },
    );
  }, 60_000);

  it('asks the only peer that has anything for two chunks at a time, unless that shares them out', () => {
    const some = mapOf(4, [0, 1, 2, 3]);
    const asked = (options: HoldingOptions, others: readonly Neighbour[] = []): number => {
      const source = neighbour('a', [[DIGEST, holding(some, { isSource: true, ...options })]]);
      return planRequests(viewOf([source, ...others]), 0).length;
    };
    expect(asked({})).toBe(2);
    expect(asked({ swarm: [SELF] })).toBe(2);
    expect(asked({ swarm: [SELF, 'b'] })).toBe(1);
    expect(asked({}, [neighbour('b', [])])).toBe(2);
    expect(asked({}, [neighbour('b', [[DIGEST, holding(mapOf(4, [0]))]])])).toBe(2);
  });

  it('asks for a chunk twice only when nothing else is left, and never more than twice', () => {
    fc.assert(
      fc.property(view, fc.nat(30_000), (given, nowMs) => {
        const requests = planRequests(given, nowMs);
        const flying = given.inFlight.map(keyOf);
        expect(new Set(requests.map(keyOf)).size).toBe(requests.length);
        if (!requests.some((request) => flying.includes(keyOf(request)))) return;
        for (const { digest, mine, isReserved } of given.wanted)
          for (let index = 0; index < mine.length; index += 1)
            expect(
              mine.has(index) ||
                isReserved(index) ||
                flying.includes(keyOf({ digest, index } as ChunkRequest)),
            ).toBe(true);
        for (const request of requests)
          expect(flying.filter((key) => key === keyOf(request)).length).toBeLessThan(2);
      }),
      { numRuns: 2000 },
    );
  }, 60_000);

  it('comes to an end whenever the live neighbours together have every chunk', () => {
    fc.assert(
      fc.property(
        view,
        fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
        (given, randoms) => {
          const random = (): number => randoms.next().value as number;
          const alive = given.neighbours.map((one) => ({ ...one, isReachable: true, mayBeAsked: true }));
          const wanted = given.wanted.map((blob) => ({ ...blob, isReserved: () => false }));
          const isThere = (digest: Digest, index: number): boolean =>
            alive.some(({ holdings }) => holdings.get(digest)?.chunks.has(index) === true);
          fc.pre(
            wanted.every(({ digest, mine }) =>
              Array.from({ length: mine.length }, (_, index) => index).every(
                (index) => mine.has(index) || isThere(digest, index),
              ),
            ),
          );
          let nowMs = 30_000;
          // Every request is answered before the next plan; whoever has nothing to do waits a second.
          for (let round = 0; round < 200; round += 1) {
            if (wanted.every(({ mine }) => mine.isFull)) return;
            const requests = planRequests(
              { ...given, wanted, neighbours: alive, inFlight: [], idleSinceMs: 0, newsMs: 0 },
              nowMs,
              random,
            );
            for (const { digest, index } of requests)
              wanted.find((blob) => blob.digest === digest)?.mine.add(index);
            nowMs += 1000;
          }
          throw new Error('chunks are left that somebody has');
        },
      ),
      { numRuns: 500 },
    );
  }, 60_000);

  const DIGEST = digestOf(1);
  function viewOf(neighbours: readonly Neighbour[], more: Partial<SwarmView> = {}): SwarmView {
    const wanted = [{ digest: DIGEST, size: 4 * MIB, mine: new ChunkMap(4), isReserved: () => false }];
    return {
      self: SELF,
      wanted,
      neighbours,
      inFlight: [],
      idleSinceMs: undefined,
      newsMs: 0,
      usualMs: 0,
      ...more,
    };
  }
  const source = (options: HoldingOptions = {}): Neighbour =>
    neighbour('source', [
      [DIGEST, holding(ChunkMap.full(4), { isSource: true, swarm: ['other', SELF], ...options })],
    ]);

  it('takes the rarest chunk first', () => {
    const neighbours = [
      neighbour('a', [[DIGEST, holding(mapOf(4, [0, 1, 2, 3]))]]),
      neighbour('b', [[DIGEST, holding(mapOf(4, [0, 1, 3]))]]),
      neighbour('c', [[DIGEST, holding(mapOf(4, [0, 1, 3]))]]),
    ];
    const busy: ChunkInFlight[] = ['b', 'c'].map((peer) => ({
      digest: DIGEST,
      index: 3,
      peer,
      startedMs: 0,
      isOwned: false,
    }));
    const [request] = planRequests(viewOf(neighbours, { inFlight: busy.slice(0, 1) }), 0, () => 0.5);
    expect(request).toMatchObject({ index: 2, peer: 'a' });
  });

  it('takes those of lower layers first among equally rare ones', () => {
    const upper = digestOf(2);
    const wanted = [DIGEST, upper].map((digest) => ({
      digest,
      size: 4 * MIB,
      mine: new ChunkMap(4),
      isReserved: () => false,
    }));
    const all = (digest: Digest): [Digest, Holding] => [digest, holding(ChunkMap.full(4))];
    const a = neighbour('a', [all(DIGEST), all(upper)]);
    for (let run = 0; run < 50; run += 1)
      expect(planRequests(viewOf([a], { wanted }), 0)[0]).toMatchObject({ digest: DIGEST });
    // A chunk of the upper layer that is rarer goes before all of them.
    const busy = neighbour('b', [all(DIGEST), [upper, holding(mapOf(4, [0, 1, 2]))]], { mayBeAsked: false });
    expect(planRequests(viewOf([a, busy], { wanted }), 0)).toMatchObject([{ digest: upper, index: 3 }]);
  });

  it('fetches from the only source what it owns there, and nothing else', () => {
    for (let run = 0; run < 50; run += 1) {
      const [request, ...more] = planRequests(viewOf([source()]), 10_000);
      expect([1, 3]).toContain(request?.index);
      expect(request).toMatchObject({ peer: 'source', isOwned: true });
      expect(more).toEqual([]);
    }
  });

  it('leaves the source alone for what others have, as long as there is something that only it has', () => {
    const other = neighbour('other', [[DIGEST, holding(mapOf(4, [0]))]], { mayBeAsked: false });
    const owned = mapOf(4, [1, 3]);
    const wanted = [{ digest: DIGEST, size: 4 * MIB, mine: owned, isReserved: () => false }];
    expect(planRequests(viewOf([source(), other], { wanted }), 10_000)).toEqual([]);
    const rest = [{ digest: DIGEST, size: 4 * MIB, mine: mapOf(4, [1, 2, 3]), isReserved: () => false }];
    expect(planRequests(viewOf([source(), other], { wanted: rest }), 10_000)).toMatchObject([
      { index: 0, peer: 'source' },
    ]);
  });

  it('helps with what another owns once it has nothing of its own to do and the chunk is overdue', () => {
    const wanted = [{ digest: DIGEST, size: 4 * MIB, mine: mapOf(4, [1, 3]), isReserved: () => false }];
    const at = (nowMs: number, options: HoldingOptions = {}): ChunkRequest[] =>
      planRequests(viewOf([source(options)], { wanted, idleSinceMs: 1500 }), nowMs);
    expect(at(1900)).toEqual([]);
    expect(at(2500)).toMatchObject([{ peer: 'source', isOwned: false }]);
    expect(at(2500, { seenMs: 1000 })).toEqual([]);
    // Sent to somebody: it is on its way, unless it is nowhere to be seen for very long.
    expect(at(9000, { sent: ChunkMap.full(4) })).toEqual([]);
    expect(at(10_000, { sent: ChunkMap.full(4) })).toHaveLength(1);
  });

  it('turns to the source from outside its swarm only when its neighbours have had nothing new for long', () => {
    const swarm = ['other'];
    const view = (newsMs: number): SwarmView => viewOf([source({ swarm })], { idleSinceMs: 0, newsMs });
    expect(planRequests(view(9000), 10_000)).toEqual([]);
    expect(planRequests(view(8000), 10_000)).toHaveLength(1);
  });

  it('asks a slow peer only for what no other ordinary one has', () => {
    const slow = neighbour('slow', [[DIGEST, holding(mapOf(4, [0, 1]))]], { isSlow: true });
    const fast = neighbour('fast', [[DIGEST, holding(mapOf(4, [0]))]]);
    const requests = planRequests(viewOf([slow, fast]), 0);
    expect(requests.find(({ peer }) => peer === 'slow')).toMatchObject({ index: 1 });
    expect(requests.find(({ peer }) => peer === 'fast')).toMatchObject({ index: 0 });
  });

  it('asks a second peer in the endgame, after twice the usual time', () => {
    const wanted = [{ digest: DIGEST, size: 4 * MIB, mine: mapOf(4, [0, 1, 2]), isReserved: () => false }];
    const both = ['a', 'b'].map((id) => neighbour(id, [[DIGEST, holding(ChunkMap.full(4))]]));
    const inFlight = [{ digest: DIGEST, index: 3, peer: 'a', startedMs: 1000, isOwned: false }];
    const at = (nowMs: number): ChunkRequest[] =>
      planRequests(viewOf(both, { wanted, inFlight, usualMs: 400 }), nowMs);
    expect(at(1799)).toEqual([]);
    expect(at(1800)).toMatchObject([{ index: 3, peer: 'b' }]);
  });
});
