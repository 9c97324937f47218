import { Injectable } from '@nestjs/common';

import type { Digest } from '../domain/digest.js';
import type { Caller } from '../peers/access/caller.js';
import type { AvailabilityAnswer, BlobAvailability } from '../peers/availability.js';
import type { AvailabilityProvider } from '../peers/availability-provider.js';
import { formatAddress } from '../peers/peer-address.js';
import { PeerService } from '../peers/peer.service.js';
import { SwarmSource } from '../peers/swarm/swarm-source.js';
import { BlobStore } from '../store/blob-store.js';
import { ImageCatalog } from '../store/image-catalog.js';
import { StoreSpace } from '../store/store-space.js';
import { OriginClaims } from './origin-claims.js';

const MAX_PARTICIPANTS = 16;

/** What this node tells its peers of the blobs they are after. */
@Injectable()
export class AvailabilityService implements AvailabilityProvider {
  constructor(
    private readonly store: BlobStore,
    private readonly catalog: ImageCatalog,
    private readonly space: StoreSpace,
    private readonly claims: OriginClaims,
    private readonly swarm: SwarmSource,
    private readonly peers: PeerService,
  ) {}

  async describe(
    digests: readonly Digest[],
    caller: Caller | undefined,
  ): Promise<Pick<AvailabilityAnswer, 'blobs' | 'participants'>> {
    const stored = await this.store.describe(digests);
    const derived = this.derivedManifests();
    const answers = new Map<Digest, BlobAvailability>();
    for (const digest of digests) {
      const blob = stored.get(digest);
      const origin = this.claims.of(digest);
      if (blob) this.space.touch(digest);
      if (!blob && !origin) continue;
      if (caller) this.swarm.note(digest, caller);
      const repacked = derived.get(digest);
      const isSource = origin !== undefined || blob?.complete === true;
      const members = isSource ? this.swarm.swarmOf(digest) : [];
      const sent = isSource ? this.swarm.sentOf(digest) : undefined;
      answers.set(digest, {
        ...(blob ?? { size: 0, complete: false }),
        ...(origin ? { origin } : {}),
        ...(members.length > 0 ? { swarm: members } : {}),
        ...(sent ? { sent } : {}),
        ...(repacked ? { derived: repacked } : {}),
      });
    }
    return { blobs: answers, participants: this.participants(digests, caller) };
  }

  /** Some others that are after the same blobs, at random. */
  private participants(digests: readonly Digest[], caller: Caller | undefined): string[] {
    const askers = this.swarm.askers(digests);
    const others = this.peers
      .peers()
      .filter(({ instance }) => askers.has(instance) && instance !== caller?.instance);
    const chosen: string[] = [];
    while (chosen.length < MAX_PARTICIPANTS && others.length > 0) {
      const [one] = others.splice(Math.floor(Math.random() * others.length), 1);
      if (one) chosen.push(formatAddress(one.address));
    }
    return chosen;
  }

  /** Root digests of images that are here in repacked form. */
  private derivedManifests(): Map<Digest, { digest: Digest; size: number }> {
    const manifests = new Map<Digest, { digest: Digest; size: number }>();
    for (const { root, derived, blobs } of this.catalog.list()) {
      if (!derived) continue;
      const size = blobs.find(({ digest }) => digest === derived)?.size;
      if (size !== undefined) manifests.set(root, { digest: derived, size });
    }
    return manifests;
  }
}
