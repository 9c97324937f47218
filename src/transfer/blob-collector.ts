import PQueue from 'p-queue';

import { anySignal } from '../common/abort.js';
import type { Clock } from '../common/clock.js';
import type { Digest } from '../domain/digest.js';
import type { Peer } from '../peers/peer-identity.js';
import type { PeerService } from '../peers/peer.service.js';
import type { BlobStore } from '../store/blob-store.js';
import type { BlobBringer } from './blob-bringer.js';
import type { BlobSource, WantedBlob } from './blob-source.js';
import { decideClaim } from './claim.js';
import type { Flights } from './flights.js';
import type { OriginClaims } from './origin-claims.js';
import { PeerSource } from './peer.source.js';
import type { Availability, PeerAnswer, PeerSweep } from './peer-sweep.js';

/** Downloads from peers at a time, one blob each; the registry's streams are separate and never starved by them. */
const PEER_STREAMS = 6;
const REGISTRY_STREAMS = 4;
/** Between two rounds of asking peers, milliseconds, at random within. */
const POLL_MS = { min: 200, max: 500 };

/** The right to read the registry, for as long as this node holds the image's lock. */
export interface OriginAccess {
  readonly source: BlobSource;
  /** Asked once, when it is certain that no store in the cluster has `blobs`. True: they are not needed any more. */
  readonly insteadOfReading: (blobs: readonly WantedBlob[], signal: AbortSignal) => Promise<boolean>;
}

/** The services a collector works with; one set for the whole process. */
export interface CollectorParts {
  readonly store: Pick<BlobStore, 'sizeOf'>;
  readonly peers: Pick<PeerService, 'availability' | 'openBlob' | 'peers'>;
  readonly sweep: Pick<PeerSweep, 'availability'>;
  readonly flights: Flights;
  readonly claims: OriginClaims;
  readonly archives: BlobSource;
  readonly clock: Clock;
}

export interface CollectorOptions {
  readonly image: string;
  readonly claimKey: string;
  /** The peers to ask: everybody for a lock holder, neighbours for the others. */
  readonly peers: () => readonly Peer[];
  readonly origin?: OriginAccess;
}

/**
 * Collects the missing blobs of one image, once: asks peers in rounds, starts what can be had, and for a lock holder
 * settles with the other holders who reads which blob from the registry.
 */
export class BlobCollector {
  private readonly open: Map<Digest, WantedBlob>;
  private readonly claimed = new Set<Digest>();
  private readonly tasks = new Set<Promise<void>>();
  private readonly stop = new AbortController();
  private readonly peerQueue = new PQueue({ concurrency: PEER_STREAMS });
  private readonly registryQueue = new PQueue({ concurrency: REGISTRY_STREAMS });
  private askedInstead = false;
  private failure: { readonly error: unknown } | undefined;

  constructor(
    blobs: readonly WantedBlob[],
    private readonly options: CollectorOptions,
    private readonly bringer: Pick<BlobBringer, 'bring' | 'isExcluded'>,
    private readonly parts: CollectorParts,
  ) {
    this.open = new Map(blobs.map((blob) => [blob.digest, blob]));
  }

  /**
   * A lock holder gets `complete` or an error. The others get `waiting` when what is missing is on its way somewhere,
   * and `no_source` when nobody they know has it or is fetching it.
   */
  async collect(parent: AbortSignal): Promise<'complete' | 'waiting' | 'no_source'> {
    const signal = anySignal(parent, this.stop.signal);
    try {
      await this.startArchived(signal);
      let watched: readonly Peer[] = [];
      let askEveryone = false;
      for (let round = 0; ; round += 1) {
        await this.closeStored();
        if (this.open.size === 0 && this.tasks.size === 0) return 'complete';
        const live = watched.filter((peer) => this.isLive(peer));
        const asked = round < 2 || askEveryone || live.length === 0 ? this.options.peers() : live;
        const availability = await this.ask(asked, signal);
        watched = watchable(availability);
        const { underWay, claimedNow, toRead } = this.decide(availability, signal);
        if (toRead.length > 0 && (await this.readOrInstead(toRead, signal))) return 'complete';
        if (!this.options.origin && this.tasks.size === 0 && this.open.size > 0)
          return underWay ? 'waiting' : 'no_source';
        // A claim is worth nothing until all the others were asked again after it.
        askEveryone = claimedNow;
        if (!claimedNow) await this.nextEvent(signal);
        if (this.failure) throw this.failure.error;
      }
    } finally {
      this.stop.abort();
      await Promise.allSettled(this.tasks);
      for (const digest of this.claimed) this.parts.claims.drop(digest);
    }
  }

  private async startArchived(signal: AbortSignal): Promise<void> {
    const { archives } = this.parts;
    for (const blob of this.open.values()) {
      if (!this.parts.flights.has(blob.digest) && (await archives.has(blob, signal)))
        this.start(blob, archives, this.peerQueue, signal);
    }
  }

  /** Another image of this node may have brought a blob meanwhile. */
  private async closeStored(): Promise<void> {
    for (const digest of this.open.keys()) {
      if ((await this.parts.store.sizeOf(digest)) !== undefined) this.close(digest);
    }
  }

  /** One that failed meanwhile is left alone for a while: asking a frozen one again would cost another time-out. */
  private isLive({ instance }: Peer): boolean {
    return this.parts.peers.peers().some((peer) => peer.instance === instance);
  }

  private async ask(peers: readonly Peer[], signal: AbortSignal): Promise<Availability> {
    if (this.open.size === 0) return new Map();
    return this.parts.sweep.availability(peers, this.options.image, [...this.open.keys()], signal);
  }

  private decide(
    availability: Availability,
    signal: AbortSignal,
  ): { underWay: boolean; claimedNow: boolean; toRead: WantedBlob[] } {
    let underWay = false;
    let claimedNow = false;
    const toRead: WantedBlob[] = [];
    for (const blob of [...this.open.values()]) {
      const answers = availability.get(blob.digest) ?? [];
      const usable = answers.filter((answer) => this.isUsable(blob, answer));
      if (this.parts.flights.has(blob.digest)) {
        underWay = true;
      } else if (usable.length > 0) {
        this.unclaim(blob.digest);
        this.start(blob, this.pick(usable), this.peerQueue, signal);
      } else if (this.claimed.has(blob.digest)) {
        this.settle(blob, answers, toRead);
      } else if (answers.some(({ origin }) => origin)) {
        underWay = true;
      } else if (this.options.origin && !this.parts.claims.of(blob.digest)) {
        this.claim(blob.digest);
        claimedNow = true;
      }
    }
    return { underWay, claimedNow, toRead };
  }

  private settle(blob: WantedBlob, answers: readonly PeerAnswer[], toRead: WantedBlob[]): void {
    // Those who have it all, but cannot give it to us, do not count as having it.
    const decision = decideClaim(
      this.options.claimKey,
      answers.map((answer) => ({ ...answer, complete: false })),
    );
    if (decision === 'yield') this.unclaim(blob.digest);
    if (decision === 'read') toRead.push(blob);
  }

  /** @returns true when another way was found, and nothing of this image has to be read */
  private async readOrInstead(blobs: readonly WantedBlob[], signal: AbortSignal): Promise<boolean> {
    const { origin } = this.options;
    if (!origin) return false;
    const { claims } = this.parts;
    for (const { digest } of blobs) claims.set(digest, { state: 'reading', key: this.options.claimKey });
    if (!this.askedInstead) {
      this.askedInstead = true;
      if (await origin.insteadOfReading(blobs, signal)) return true;
      await this.closeStored();
    }
    for (const blob of blobs)
      if (this.open.has(blob.digest)) this.start(blob, origin.source, this.registryQueue, signal);
    return false;
  }

  private start(blob: WantedBlob, source: BlobSource, queue: PQueue, signal: AbortSignal): void {
    this.open.delete(blob.digest);
    const task = queue
      .add(() => this.bringer.bring(blob, source, signal))
      .then(
        (brought) => {
          if (brought) this.close(blob.digest);
          else this.open.set(blob.digest, blob);
        },
        (error: unknown) => {
          this.failure ??= { error };
        },
      )
      .finally(() => this.tasks.delete(task));
    this.tasks.add(task);
  }

  private isUsable(blob: WantedBlob, answer: PeerAnswer): boolean {
    return answer.complete && answer.size === blob.size && !this.bringer.isExcluded(blob, answer.peer.node);
  }

  /** Anyone but the one who reads the registry, if there is a choice: its uplink is the scarce one. */
  private pick(answers: readonly PeerAnswer[]): PeerSource {
    const others = answers.filter(({ origin }) => !origin);
    const choice = others.length > 0 ? others : answers;
    const chosen = choice[Math.floor(Math.random() * choice.length)];
    if (!chosen) throw new RangeError('there is no peer to pick from');
    return new PeerSource(this.parts.peers, chosen.peer);
  }

  private claim(digest: Digest): void {
    this.parts.claims.set(digest, { state: 'claimed', key: this.options.claimKey });
    this.claimed.add(digest);
  }

  private unclaim(digest: Digest): void {
    if (this.claimed.delete(digest)) this.parts.claims.drop(digest);
  }

  private close(digest: Digest): void {
    this.open.delete(digest);
    this.unclaim(digest);
  }

  /** The end of a download, or the time for the next round where anything is still to be found. */
  private async nextEvent(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const ended = Promise.race(this.tasks);
    if (this.open.size === 0) return ended;
    const pause = this.parts.clock.sleep(POLL_MS.min + Math.random() * (POLL_MS.max - POLL_MS.min), signal);
    await (this.tasks.size === 0 ? pause : Promise.race([ended, pause]));
  }
}

/** Whom to ask again: those who have some of it, or are reading it. A partial blob that nobody reads is no promise. */
function watchable(availability: Availability): Peer[] {
  const peers = new Map<string, Peer>();
  for (const answers of availability.values()) {
    for (const { peer, complete, origin } of answers) {
      if (complete || origin) peers.set(peer.instance, peer);
    }
  }
  return [...peers.values()];
}
