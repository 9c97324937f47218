import type { Digest } from '../../domain/digest.js';
import type { Peer } from '../../peers/peer-identity.js';
import type { BlobBringer } from '../blob-bringer.js';
import type { BlobSource, WantedBlob } from '../blob-source.js';
import type { Availability, PeerAnswer } from '../peer-sweep.js';
import { ClaimRounds, type ClaimRoundsParts } from './claim-rounds.js';
import type { ImageSwarm } from './image-swarm.js';
import { RegistryReader, type RegistryReaderEvents, type RegistryReaderParts } from './registry-reader.js';

/** The right to read the registry, for as long as this node holds the image's lock. */
export interface OriginAccess {
  readonly source: BlobSource;
  /** Asked once, when it is certain that no store in the cluster has `blobs`. True: they are not needed any more. */
  readonly insteadOfReading: (blobs: readonly WantedBlob[], signal: AbortSignal) => Promise<boolean>;
}

export interface OriginReadingOptions {
  readonly image: string;
  readonly claimKey: string;
  readonly peers: () => readonly Peer[];
  readonly missing: ReadonlyMap<Digest, WantedBlob>;
  /** Whether a blob needs a source, be it that no peer has it or that it failed its digest. */
  readonly needsSource: (digest: Digest) => boolean;
  readonly swarm: ImageSwarm;
  readonly bringer: Pick<BlobBringer, 'isExcluded'>;
}

export type OriginReadingParts = ClaimRoundsParts & RegistryReaderParts;

/** A lock holder's part: settles which blobs this node is to read from the registry, and reads what no peer has of them. */
export class OriginReading {
  private readonly reading = new Set<Digest>();
  private readonly rounds: ClaimRounds;
  private readonly reader: RegistryReader;
  private askedInstead = false;
  private replaced = false;

  constructor(
    private readonly origin: OriginAccess,
    private readonly options: OriginReadingOptions,
    parts: OriginReadingParts,
    private readonly events: RegistryReaderEvents,
  ) {
    const { image, claimKey, peers, missing, needsSource, swarm, bringer } = options;
    this.rounds = new ClaimRounds(
      {
        image,
        claimKey,
        peers,
        open: () =>
          [...missing.values()].filter(({ digest }) => !this.reading.has(digest) && needsSource(digest)),
        isUsable: (blob, { peer, size }) =>
          size === blob.size && !bringer.isExcluded(blob, peer.node) && !swarm.isFailing(peer, blob.digest),
        onAnswers: (availability) => this.learn(availability),
        onRead: (blobs, signal) => this.readOrInstead(blobs, signal),
      },
      parts,
    );
    const isOffered = ({ digest }: { digest: Digest }, index: number): boolean =>
      swarm.isOffered(digest, index);
    this.reader = new RegistryReader(origin.source, isOffered, parts, events);
  }

  /** Everything that was missing came another way. */
  get isReplaced(): boolean {
    return this.replaced;
  }

  get source(): BlobSource {
    return this.origin.source;
  }

  isReading(digest: Digest): boolean {
    return this.reading.has(digest);
  }

  /** Settles who reads what until the signal aborts. @throws what `insteadOfReading` throws */
  settle(signal: AbortSignal): Promise<never> {
    return this.rounds.run(signal);
  }

  /** Opens what streams there is room for, and returns at once. */
  advance(signal: AbortSignal): void {
    const blobs = this.options.swarm.blobs.filter(({ digest }) => this.reading.has(digest));
    this.reader.advance(blobs, signal);
  }

  /** The blob is here. */
  close(digest: Digest): void {
    this.reading.delete(digest);
    this.rounds.settled(digest);
  }

  /** Waits until no stream is open any more (their signal has aborted), and takes the claims back. */
  async end(): Promise<void> {
    await this.reader.end();
    this.rounds.end();
  }

  private learn(availability: Availability): void {
    const byPeer = new Map<Peer, Map<Digest, PeerAnswer>>();
    for (const [digest, answers] of availability) {
      for (const answer of answers) {
        const known = byPeer.get(answer.peer) ?? new Map<Digest, PeerAnswer>();
        byPeer.set(answer.peer, known.set(digest, answer));
      }
    }
    for (const [peer, answers] of byPeer) this.options.swarm.learn(peer, answers, this.options.missing);
    this.events.onChange();
  }

  private async readOrInstead(blobs: readonly WantedBlob[], signal: AbortSignal): Promise<void> {
    if (!this.askedInstead) {
      this.askedInstead = true;
      this.replaced = await this.origin.insteadOfReading(blobs, signal);
    }
    for (const { digest } of blobs) this.reading.add(digest);
    this.events.onChange();
  }
}
