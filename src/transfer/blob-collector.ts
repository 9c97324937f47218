import { anySignal, isAbort } from '../common/abort.js';
import { Bell } from '../common/bell.js';
import type { Clock } from '../common/clock.js';
import { chunkRange } from '../domain/chunk-map.js';
import type { Digest } from '../domain/digest.js';
import { PreheatFailure, reasonOf } from '../domain/errors.js';
import type { Peer } from '../peers/peer-identity.js';
import type { PeerService } from '../peers/peer.service.js';
import type { SwarmSource } from '../peers/swarm/swarm-source.js';
import type { BlobStore } from '../store/blob-store.js';
import type { BlobBringer } from './blob-bringer.js';
import type { BlobSource, WantedBlob } from './blob-source.js';
import type { Contributions } from './contributions.js';
import type { Flights } from './flights.js';
import type { PeerFailures } from './peer-failures.js';
import type { Suspects } from './suspects.js';
import type { ImageSwarm } from './swarm/image-swarm.js';
import { type OriginAccess, OriginReading, type OriginReadingParts } from './swarm/origin-reading.js';
import type { Giver, SwarmBlob } from './swarm/swarm-blob.js';
import { WholeBlobs } from './whole-blobs.js';

/** The longest wait between two looks at what there is to do, milliseconds. */
const LOOK_MS = 250;
/** An attempt that can do nothing for this long gives its slot to another image, milliseconds. */
const QUIET_MS = 1500;

/** The services a collector works with; one set for the whole process. */
export interface CollectorParts extends OriginReadingParts {
  readonly store: Pick<BlobStore, 'sizeOf' | 'hasPartial' | 'verifiedBytes' | 'describe'>;
  readonly peers: Pick<PeerService, 'availability' | 'openBlob' | 'quarantine' | 'greeted'>;
  readonly flights: Flights;
  readonly relays: Pick<SwarmSource, 'relays' | 'sentOf' | 'swarmOf'>;
  readonly archives: BlobSource;
  readonly clock: Clock;
}

/** What one image has learned about its sources; it outlives an attempt. */
export interface CollectorMemory {
  readonly swarm: ImageSwarm;
  readonly contributions: Contributions;
  readonly suspects: Suspects;
  readonly failures: PeerFailures;
  readonly bringer: Pick<BlobBringer, 'bring' | 'isExcluded'>;
}

export interface CollectorOptions {
  readonly image: string;
  readonly claimKey: string;
  /** Everybody who may be asked. */
  readonly peers: () => readonly Peer[];
  /** Instance of the lock holder: asked before all others. */
  readonly holder?: string | undefined;
  /** Set for the lock holder itself. */
  readonly origin?: OriginAccess;
  readonly onBytes: (count: number) => void;
  /** A blob is in the store. */
  readonly onStored: (digest: Digest) => void;
}

/**
 * Collects the missing blobs of one image, once: chunk by chunk from the swarm and, for a lock holder, from the registry
 * what no peer has. A blob that fails its digest comes again, as a whole, from one source alone.
 */
export class BlobCollector {
  private readonly open: Map<Digest, WantedBlob>;
  private readonly whole: WholeBlobs;
  private readonly committing = new Set<Digest>();
  private readonly tasks = new Set<Promise<void>>();
  private readonly stop = new AbortController();
  private readonly origin: OriginReading | undefined;
  private readonly bell: Bell;
  private quietSinceMs: number | undefined;
  private failure: { readonly error: unknown } | undefined;

  constructor(
    blobs: readonly WantedBlob[],
    private readonly options: CollectorOptions,
    private readonly memory: CollectorMemory,
    private readonly parts: CollectorParts,
  ) {
    this.open = new Map(blobs.map((blob) => [blob.digest, blob]));
    this.bell = new Bell(parts.clock);
    const { origin, image, claimKey, peers } = options;
    const { swarm, bringer } = memory;
    this.whole = new WholeBlobs({ peers: parts.peers, flights: parts.flights, swarm, bringer }, (digest) =>
      this.settle(digest),
    );
    const reading = { image, claimKey, peers, swarm, bringer, missing: this.open };
    this.origin =
      origin &&
      new OriginReading(origin, { ...reading, needsSource: (digest) => this.needsSource(digest) }, parts, {
        onChunk: (blob, index, startedMs) => this.arrived(blob, index, origin.source, startedMs),
        onFailure: (error) => this.fail(error),
        onChange: () => this.bell.ring(),
      });
  }

  /**
   * A lock holder gets `complete` or an error. The others get `waiting` when what is missing is on its way somewhere,
   * and `no_source` when nobody they know has it or is fetching it.
   */
  async collect(parent: AbortSignal): Promise<'complete' | 'waiting' | 'no_source'> {
    const signal = anySignal(parent, this.stop.signal);
    this.memory.swarm.begin({
      onChunk: (blob, index, giver, startedMs) => this.arrived(blob, index, giver, startedMs),
      onPeerFailure: (peer, error) => this.memory.failures.count(peer.node, error),
      onFailure: (error) => this.fail(error),
      onChange: () => this.bell.ring(),
    });
    try {
      await this.startArchived(signal);
      if (this.origin) this.track(this.origin.settle(signal), signal);
      else await this.resume(signal);
      for (;;) {
        await this.closeStored();
        if (this.open.size === 0 || this.origin?.isReplaced) return 'complete';
        await this.advance(signal);
        const verdict = this.verdict();
        if (verdict) return verdict;
        await this.bell.wait(Math.min(LOOK_MS, this.memory.swarm.nextDueInMs() ?? LOOK_MS), signal);
        if (this.failure) throw this.failure.error;
      }
    } finally {
      this.stop.abort();
      await Promise.allSettled(this.tasks);
      await this.origin?.end();
      await this.memory.swarm.end();
    }
  }

  private async startArchived(signal: AbortSignal): Promise<void> {
    const { archives, flights } = this.parts;
    for (const blob of this.open.values())
      if (!flights.has(blob.digest) && (await archives.has(blob, signal)))
        this.track(this.whole.bring(blob, archives, signal), signal);
  }

  /** What an earlier attempt, or process, has left of a blob is of use to others before this node gets any more of it. */
  private async resume(signal: AbortSignal): Promise<void> {
    for (const blob of this.open.values()) {
      if (this.whole.has(blob.digest) || this.memory.contributions.mustComeAlone(blob.digest)) continue;
      if (await this.parts.store.hasPartial(blob.digest)) await this.join(blob, signal);
    }
  }

  /** Another image of this node may have brought a blob meanwhile. */
  private async closeStored(): Promise<void> {
    for (const { digest } of this.open.values()) {
      const isOurs = this.whole.has(digest) || this.memory.swarm.blobOf(digest) !== undefined;
      if (!isOurs && (await this.parts.store.sizeOf(digest)) !== undefined) this.close(digest);
    }
  }

  /** Starts everything that can be started now. */
  private async advance(signal: AbortSignal): Promise<void> {
    const { swarm, contributions } = this.memory;
    for (const blob of this.open.values()) {
      if (this.whole.has(blob.digest)) continue;
      const origin = this.origin?.isReading(blob.digest) ? this.origin.source : undefined;
      if (contributions.mustComeAlone(blob.digest)) {
        const bringing = this.whole.bringAlone(blob, origin, signal);
        if (bringing) this.track(bringing, signal);
      } else if (origin || swarm.isPromised(blob)) await this.join(blob, signal);
    }
    swarm.advance({ peers: this.options.peers(), preferred: this.options.holder, wanted: this.open }, signal);
    this.origin?.advance(signal);
    for (const blob of swarm.blobs) if (blob.mine.isFull) this.commit(blob, signal);
    await this.letGo();
  }

  /** Another image of this node may be the one that is to read what peers have promised in vain. */
  private async letGo(): Promise<void> {
    const { swarm } = this.memory;
    if (!swarm.hasAskedAll) return;
    for (const blob of swarm.blobs) {
      const isOnItsWay = blob.mine.isFull || swarm.isFetchingOf(blob.digest) || swarm.isPromised(blob.wanted);
      if (!isOnItsWay && this.origin?.isReading(blob.digest) !== true) await swarm.leave(blob);
    }
  }

  private async join(blob: WantedBlob, signal: AbortSignal): Promise<void> {
    if (this.memory.swarm.blobOf(blob.digest)) return;
    const { store } = this.parts;
    const before = store.verifiedBytes(blob.digest);
    if (!(await this.memory.swarm.join(blob, signal))) return;
    const restored = store.verifiedBytes(blob.digest) - before;
    if (restored > 0) this.options.onBytes(restored);
  }

  private commit(blob: SwarmBlob, signal: AbortSignal): void {
    const { digest, partial } = blob;
    if (this.committing.has(digest)) return;
    this.committing.add(digest);
    const work = async (): Promise<void> => {
      try {
        await partial.commit();
        await this.settle(digest);
      } catch (error) {
        if (reasonOf(error, 'no_source') !== 'corrupt') throw error;
        this.distrust(blob, error);
      } finally {
        await this.memory.swarm.leave(blob);
        this.committing.delete(digest);
      }
    };
    this.track(work(), signal);
  }

  /** The blob is here: of those who gave bytes of an earlier, wrong one, it shows now who did. */
  private async settle(digest: Digest): Promise<void> {
    const { suspects } = this.memory;
    if (suspects.has(digest)) {
      const stored = (await this.parts.store.describe([digest])).get(digest);
      for (const giver of suspects.convict(digest, stored?.chunkHashes ?? [])) this.blame(giver);
    }
    this.close(digest);
  }

  private distrust(blob: SwarmBlob, error: unknown): void {
    this.memory.contributions.blame(blob.digest);
    const giver = blob.onlyGiver;
    if (!giver) this.memory.suspects.note(blob);
    else if (giver.kind === 'registry') this.fail(error);
    else this.blame(giver);
  }

  private blame(giver: Giver): void {
    const peer = this.options.peers().find(({ instance }) => instance === giver.instance);
    if (!peer) return;
    this.parts.peers.quarantine(peer, this.options.image);
    this.memory.failures.count(peer.node, new PreheatFailure('corrupt', 'its bytes are wrong'));
  }

  private arrived(blob: SwarmBlob, index: number, { kind, name, instance }: Giver, startedMs: number): void {
    blob.givers.set(index, { kind, name, ...(instance === undefined ? {} : { instance }) });
    if (kind === 'peer') this.parts.relays.relays(blob.digest);
    this.memory.contributions.add(blob.digest, { kind, name }, startedMs, this.parts.clock.monotonicMs());
    this.options.onBytes(chunkRange(blob.size, index).length);
    this.bell.ring();
  }

  private needsSource(digest: Digest): boolean {
    if (this.whole.has(digest)) return false;
    const { swarm, contributions } = this.memory;
    return swarm.complete(digest).length === 0 || contributions.mustComeAlone(digest);
  }

  /** Undefined while there is something to do. */
  private verdict(): 'waiting' | 'no_source' | undefined {
    const { swarm } = this.memory;
    if (this.origin || this.tasks.size > 0 || swarm.isFetching || !swarm.hasAskedAll) {
      this.quietSinceMs = undefined;
      return undefined;
    }
    const isUnderWay = (blob: WantedBlob): boolean => {
      const isElsewhere = !swarm.blobOf(blob.digest) && this.parts.flights.has(blob.digest);
      return isElsewhere || this.isPromised(blob);
    };
    if (![...this.open.values()].some(isUnderWay)) return 'no_source';
    const nowMs = this.parts.clock.monotonicMs();
    this.quietSinceMs ??= nowMs;
    return nowMs - this.quietSinceMs >= QUIET_MS ? 'waiting' : undefined;
  }

  /** Whether it is worth waiting for; what has to come from a single source is not, while nobody is to have all of it. */
  private isPromised(blob: WantedBlob): boolean {
    const { swarm, contributions } = this.memory;
    if (!contributions.mustComeAlone(blob.digest)) return swarm.isPromised(blob);
    return swarm.isBeingRead(blob.digest) || this.whole.peerWithAll(blob) !== undefined;
  }

  private close(digest: Digest): void {
    this.open.delete(digest);
    this.origin?.close(digest);
    this.options.onStored(digest);
  }

  private fail(error: unknown): void {
    this.failure ??= { error };
    this.bell.ring();
  }

  private track(work: Promise<unknown>, signal: AbortSignal): void {
    const task = work
      .then(
        () => undefined,
        (error: unknown) => {
          if (!isAbort(error, signal)) this.fail(error);
        },
      )
      .finally(() => {
        this.tasks.delete(task);
        this.bell.ring();
      });
    this.tasks.add(task);
  }
}
