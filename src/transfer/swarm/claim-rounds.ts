import type { Clock } from '../../common/clock.js';
import type { Digest } from '../../domain/digest.js';
import type { Peer } from '../../peers/peer-identity.js';
import type { PeerService } from '../../peers/peer.service.js';
import type { WantedBlob } from '../blob-source.js';
import { decideClaim } from '../claim.js';
import type { OriginClaims } from '../origin-claims.js';
import type { Availability, PeerAnswer, PeerSweep } from '../peer-sweep.js';

/** Between two rounds of asking peers, milliseconds, at random within. */
const POLL_MS = { min: 200, max: 500 };

export interface ClaimRoundsParts {
  readonly sweep: Pick<PeerSweep, 'availability'>;
  readonly peers: Pick<PeerService, 'greeted'>;
  readonly claims: OriginClaims;
  readonly clock: Clock;
}

export interface ClaimRoundsOptions {
  readonly image: string;
  readonly claimKey: string;
  /** Everybody there is. */
  readonly peers: () => readonly Peer[];
  /** Blobs that are missing, and of which it is not settled yet who brings them. */
  readonly open: () => readonly WantedBlob[];
  /** Whether what this peer has can be had from it. */
  readonly isUsable: (blob: WantedBlob, answer: PeerAnswer) => boolean;
  readonly onAnswers: (availability: Availability) => void;
  /** This node, and no other, is to read these from the registry. */
  readonly onRead: (blobs: readonly WantedBlob[], signal: AbortSignal) => Promise<void>;
}

/**
 * Settles with the other lock holders who reads which blob from the registry, since images share blobs and locks are
 * per image: claims a blob, asks everybody, and reads it only when nobody has it or reads it (`decideClaim`).
 */
export class ClaimRounds {
  private readonly claimed = new Set<Digest>();

  constructor(
    private readonly options: ClaimRoundsOptions,
    private readonly parts: ClaimRoundsParts,
  ) {}

  /** Goes on until the signal aborts. */
  async run(signal: AbortSignal): Promise<never> {
    let watched: readonly Peer[] = [];
    let askEveryone = true;
    for (let round = 0; ; round += 1) {
      const open = this.options.open();
      this.unclaimAllBut(open);
      let claimedNow = false;
      if (open.length > 0) {
        await this.parts.peers.greeted(signal);
        const all = this.options.peers();
        const live = watched.filter(({ instance }) => all.some((peer) => peer.instance === instance));
        const asked = round < 2 || askEveryone || live.length === 0 ? all : live;
        const availability = await this.parts.sweep.availability(asked, this.options.image, open, signal);
        this.options.onAnswers(availability);
        watched = watchable(availability);
        claimedNow = await this.decide(open, availability, signal);
      }
      // A claim is worth nothing until all the others were asked again after it.
      askEveryone = claimedNow || open.length === 0;
      if (!claimedNow) await this.pause(signal);
    }
  }

  /** Takes back what was claimed, or is being read. */
  end(): void {
    for (const digest of this.claimed) this.parts.claims.drop(digest);
    this.claimed.clear();
  }

  /** The blob is here: there is nothing left to read. */
  settled(digest: Digest): void {
    if (this.claimed.delete(digest)) this.parts.claims.drop(digest);
  }

  /** @returns whether anything was claimed */
  private async decide(
    open: readonly WantedBlob[],
    availability: Availability,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { claims } = this.parts;
    const { claimKey } = this.options;
    let claimedNow = false;
    const toRead: WantedBlob[] = [];
    for (const blob of open) {
      const answers = availability.get(blob.digest) ?? [];
      if (answers.some((answer) => answer.complete && this.options.isUsable(blob, answer))) {
        this.settled(blob.digest);
      } else if (this.claimed.has(blob.digest)) {
        // Those who have it all, but cannot give it to us, do not count as having it.
        const decision = decideClaim(
          claimKey,
          answers.map((answer) => ({ ...answer, complete: false })),
        );
        if (decision === 'yield') this.settled(blob.digest);
        if (decision === 'read') toRead.push(blob);
      } else if (!answers.some(({ origin }) => origin) && !claims.of(blob.digest)) {
        claims.set(blob.digest, { state: 'claimed', key: claimKey });
        this.claimed.add(blob.digest);
        claimedNow = true;
      }
    }
    for (const { digest } of toRead) claims.set(digest, { state: 'reading', key: claimKey });
    if (toRead.length > 0) await this.options.onRead(toRead, signal);
    return claimedNow;
  }

  /** What is not open any more, and is not being read, came another way. */
  private unclaimAllBut(open: readonly WantedBlob[]): void {
    const digests = new Set(open.map(({ digest }) => digest));
    for (const digest of this.claimed)
      if (!digests.has(digest) && this.parts.claims.of(digest)?.state !== 'reading') this.settled(digest);
  }

  private async pause(signal: AbortSignal): Promise<void> {
    await this.parts.clock.sleep(POLL_MS.min + Math.random() * (POLL_MS.max - POLL_MS.min), signal);
  }
}

/** Whom to ask again: those who have some of it, or are reading it. A partial blob that nobody reads is no promise. */
function watchable(availability: Availability): Peer[] {
  const peers = new Map<string, Peer>();
  for (const answers of availability.values())
    for (const { peer, complete, origin } of answers) if (complete || origin) peers.set(peer.instance, peer);
  return [...peers.values()];
}
