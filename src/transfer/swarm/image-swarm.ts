import { withTimeout } from '../../common/abort.js';
import type { Clock } from '../../common/clock.js';
import { type ChunkMap, chunkRange } from '../../domain/chunk-map.js';
import type { Digest } from '../../domain/digest.js';
import { reasonOf } from '../../domain/errors.js';
import type { AvailabilityAnswer, BlobAvailability } from '../../peers/availability.js';
import { formatAddress } from '../../peers/peer-address.js';
import { PeerError } from '../../peers/peer-error.js';
import type { Peer } from '../../peers/peer-identity.js';
import type { PeerService } from '../../peers/peer.service.js';
import type { BlobStore } from '../../store/blob-store.js';
import { ChunkOutrunError } from '../../store/chunk-claims.js';
import type { WantedBlob } from '../blob-source.js';
import type { Flights } from '../flights.js';
import { AVAILABILITY_TIMEOUT_MS } from '../peer-sweep.js';
import type { ChunkFetcher } from './chunk-fetcher.js';
import type { ChunkInFlight } from './swarm-view.js';
import type { Neighbour } from './neighbour.js';
import { NeighbourTable } from './neighbour-table.js';
import { type Giver, SwarmBlob } from './swarm-blob.js';
import { SwarmPlanner } from './swarm-planner.js';

/** A peer that serves as many as it can is asked again after this long, milliseconds, at random within. */
const FULL_PAUSE_MS = { min: 50, max: 150 };
/** A neighbour that failed so often in a row does not count as having anything. */
const MAX_FAILURES = 3;

export interface SwarmParts {
  readonly store: Pick<BlobStore, 'openPartial'>;
  readonly peers: Pick<PeerService, 'ask' | 'report' | 'quarantine'>;
  readonly fetcher: ChunkFetcher;
  readonly flights: Flights;
  readonly clock: Clock;
}

export interface SwarmEvents {
  /** Chunk `index` of `blob` is there. */
  readonly onChunk: (blob: SwarmBlob, index: number, giver: Giver, startedMs: number) => void;
  /** A request to `peer` failed for a reason that is the peer's. */
  readonly onPeerFailure: (peer: Peer, error: unknown) => void;
  /** Nothing can be written any more. */
  readonly onFailure: (error: unknown) => void;
  /** Something happened after which `advance` may find more to do. */
  readonly onChange: () => void;
}

const SILENT: SwarmEvents = {
  onChunk: () => undefined,
  onPeerFailure: () => undefined,
  onFailure: () => undefined,
  onChange: () => undefined,
};

/** Whom to ask, and what for. */
export interface SwarmScope {
  readonly peers: readonly Peer[];
  /** Instance of the lock holder. */
  readonly preferred?: string | undefined;
  /** Every blob that is still missing: neighbours are asked about all of them. */
  readonly wanted: ReadonlyMap<Digest, WantedBlob>;
}

/**
 * The swarm of one image as this node takes part in it: asks up to 16 neighbours what they have, and fetches chunks of
 * the blobs it has joined from them, as the scheduler says. What was learned about neighbours outlives an attempt.
 */
export class ImageSwarm {
  private readonly table: NeighbourTable<Peer>;
  private readonly planner: SwarmPlanner<Peer>;
  private readonly joined = new Map<Digest, SwarmBlob>();
  /** What this node has of the blobs that it has left in this attempt. */
  private readonly left = new Map<Digest, ChunkMap>();
  private readonly tasks = new Set<Promise<void>>();
  private participants: readonly string[] = [];
  private events: SwarmEvents = SILENT;

  /** @param self this node's name */
  constructor(
    private readonly image: string,
    self: string,
    private readonly parts: SwarmParts,
  ) {
    this.table = new NeighbourTable(self);
    this.planner = new SwarmPlanner(self, this.table);
  }

  get blobs(): readonly SwarmBlob[] {
    return [...this.joined.values()];
  }

  get isFetching(): boolean {
    return this.planner.inFlight.size > 0;
  }

  isFetchingOf(digest: Digest): boolean {
    return [...this.planner.inFlight].some((request) => request.digest === digest);
  }

  /** Whether every neighbour has answered, or failed to. */
  get hasAskedAll(): boolean {
    return this.table.isMet;
  }

  blobOf(digest: Digest): SwarmBlob | undefined {
    return this.joined.get(digest);
  }

  /** Sets about a blob. False when another image of this node is at it. @throws PreheatFailure `insufficient_disk` */
  async join(wanted: WantedBlob, signal: AbortSignal): Promise<boolean> {
    if (this.joined.has(wanted.digest)) return true;
    const endFlight = this.parts.flights.tryBegin(wanted.digest);
    if (!endFlight) return false;
    try {
      const partial = await this.parts.store.openPartial(wanted.digest, wanted.size, signal);
      this.joined.set(wanted.digest, new SwarmBlob(wanted, partial, endFlight));
      this.left.delete(wanted.digest);
    } catch (error) {
      endFlight();
      throw error;
    }
    return true;
  }

  /** Lets go of a blob: it is committed, dropped, or parked for the next attempt. */
  async leave(blob: SwarmBlob): Promise<void> {
    this.joined.delete(blob.digest);
    // One that is full is committed, or was dropped since it is wrong.
    if (!blob.mine.isFull) this.left.set(blob.digest, blob.mine);
    try {
      await blob.partial.park();
    } finally {
      blob.endFlight();
    }
  }

  /** Asks whoever is to be asked now, and returns at once; `onChange` tells when there may be more to do. */
  advance({ peers, preferred, wanted }: SwarmScope, signal: AbortSignal): void {
    const nowMs = this.parts.clock.monotonicMs();
    const named = new Set(this.participants);
    this.table.follow(peers, nowMs, {
      preferred,
      participants: peers.filter(({ address }) => named.has(formatAddress(address))),
      mine: new Map(this.blobs.map(({ digest, mine }) => [digest, mine])),
    });
    for (const neighbour of this.table.takeDue(nowMs)) this.track(this.poll(neighbour, wanted, signal));
    for (const request of this.planner.start(this.blobs, nowMs)) this.track(this.fetch(request, signal));
  }

  /** Milliseconds until `advance` may find somebody to ask; undefined when all are being asked. */
  nextDueInMs(): number | undefined {
    const dueMs = this.table.nextDueMs();
    return dueMs === undefined ? undefined : Math.max(0, dueMs - this.parts.clock.monotonicMs());
  }

  /** Takes in what a sweep of the cluster has found: whoever has something becomes a neighbour, where there is room. */
  learn(
    peer: Peer,
    answers: ReadonlyMap<Digest, BlobAvailability>,
    wanted: ReadonlyMap<Digest, WantedBlob>,
  ): void {
    const nowMs = this.parts.clock.monotonicMs();
    this.table.add(peer, nowMs);
    this.table.answered(peer.instance, answers, sizesOf(wanted), nowMs);
  }

  /** Whether a neighbour that can be reached has chunk `index`. */
  isOffered(digest: Digest, index: number): boolean {
    return this.table.holders(digest, MAX_FAILURES).some(({ blob }) => blob.chunks.has(index));
  }

  /** Peers that have all of a blob, and can be reached. */
  complete(digest: Digest): Peer[] {
    return this.table
      .holders(digest, MAX_FAILURES)
      .flatMap(({ peer, blob }) => (blob.isComplete ? [peer] : []));
  }

  /** Whether it has failed so often in a row, or lacked so often what it said it had of a blob, that it does not count. */
  isFailing({ instance }: Peer, digest: Digest): boolean {
    const neighbour = this.table.get(instance);
    return neighbour !== undefined && (neighbour.failures >= MAX_FAILURES || !neighbour.isBelieved(digest));
  }

  /** Whether somebody has more of a blob than this node, or is reading it: it is worth waiting for. */
  isPromised({ digest }: WantedBlob): boolean {
    const mine = this.joined.get(digest)?.mine ?? this.left.get(digest);
    return this.table
      .holders(digest, MAX_FAILURES)
      .some(({ blob }) => blob.isSource || (mine ? blob.chunks.hasMoreThan(mine) : blob.chunks.size > 0));
  }

  /** Whether somebody is reading it from the registry, or means to. */
  isBeingRead(digest: Digest): boolean {
    return this.table.holders(digest, MAX_FAILURES).some(({ blob }) => blob.isOrigin);
  }

  /** Begins an attempt, of which `events` are told. */
  begin(events: SwarmEvents): void {
    this.events = events;
    this.left.clear();
    this.table.renew(this.parts.clock.monotonicMs());
  }

  /** Waits until nothing is under way any more (the signal of `advance` has aborted), and lets go of all blobs. */
  async end(): Promise<void> {
    await Promise.allSettled(this.tasks);
    await Promise.allSettled(this.blobs.map((blob) => this.leave(blob)));
    this.events = SILENT;
  }

  private async poll(
    { peer, blobs }: Neighbour<Peer>,
    wanted: ReadonlyMap<Digest, WantedBlob>,
    signal: AbortSignal,
  ): Promise<void> {
    const known = new Map([...blobs].map(([digest, blob]) => [digest, blob.told]));
    let answer: AvailabilityAnswer;
    try {
      answer = await withTimeout(
        AVAILABILITY_TIMEOUT_MS,
        () => new PeerError('timeout', 'The peer did not say in time what it has.'),
        (limited) =>
          this.parts.peers.ask(peer, { image: this.image, blobs: [...wanted.values()], known }, limited),
        signal,
      );
    } catch (error) {
      if (signal.aborted) {
        this.table.abandoned(peer.instance);
        return;
      }
      this.parts.peers.report(peer, error);
      this.table.failed(peer.instance, this.parts.clock.monotonicMs());
      return;
    }
    this.table.answered(peer.instance, answer.blobs, sizesOf(wanted), this.parts.clock.monotonicMs());
    if (answer.participants.length > 0) this.participants = answer.participants;
  }

  private async fetch(request: ChunkInFlight, signal: AbortSignal): Promise<void> {
    const { digest, index } = request;
    const blob = this.joined.get(digest);
    const neighbour = this.table.get(request.peer);
    let bytes = 0;
    try {
      if (!blob || !neighbour) return;
      const claimed = neighbour.blobs.get(digest)?.hashOf(index);
      await this.parts.fetcher.fetch(blob.partial, index, neighbour.peer, claimed, signal);
      bytes = chunkRange(blob.size, index).length;
    } catch (error) {
      if (!signal.aborted && neighbour && !(error instanceof ChunkOutrunError))
        this.judge(neighbour.peer, digest, error);
    } finally {
      this.planner.ended(request, bytes, this.parts.clock.monotonicMs());
    }
    if (!blob || !neighbour || bytes === 0) return;
    const { node: name, instance } = neighbour.peer;
    this.events.onChunk(blob, index, { kind: 'peer', name, instance }, request.startedMs);
  }

  private judge(peer: Peer, digest: Digest, error: unknown): void {
    const nowMs = this.parts.clock.monotonicMs();
    const isPeers = error instanceof PeerError;
    if (isPeers && error.kind === 'full') {
      const pauseMs = FULL_PAUSE_MS.min + Math.random() * (FULL_PAUSE_MS.max - FULL_PAUSE_MS.min);
      this.table.full(peer.instance, nowMs + pauseMs);
    } else if (isPeers && error.isNotFound) {
      this.table.get(peer.instance)?.denied(digest);
    } else if (isCorrupt(error)) {
      this.parts.peers.quarantine(peer, this.image);
      this.table.remove(peer.instance);
      this.events.onPeerFailure(peer, error);
    } else if (isPeers) {
      this.parts.peers.report(peer, error);
      this.table.failed(peer.instance, nowMs);
      this.events.onPeerFailure(peer, error);
    } else {
      this.events.onFailure(error);
    }
  }

  private track(work: Promise<void>): void {
    const task = work.finally(() => {
      this.tasks.delete(task);
      this.events.onChange();
    });
    this.tasks.add(task);
  }
}

function isCorrupt(error: unknown): boolean {
  return error instanceof PeerError ? error.kind === 'corrupt' : reasonOf(error, 'no_source') === 'corrupt';
}

function sizesOf(wanted: ReadonlyMap<Digest, WantedBlob>): ReadonlyMap<Digest, number> {
  return new Map([...wanted].map(([digest, { size }]) => [digest, size]));
}
