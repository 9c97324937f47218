import { Injectable } from '@nestjs/common';

import type { Digest } from '../domain/digest.js';
import type { BlobAvailability } from '../peers/availability.js';
import type { AvailabilityProvider } from '../peers/availability-provider.js';
import { BlobStore } from '../store/blob-store.js';
import { ImageCatalog } from '../store/image-catalog.js';
import { StoreSpace } from '../store/store-space.js';
import { OriginClaims } from './origin-claims.js';

/** What this node tells its peers of the blobs they are after. */
@Injectable()
export class AvailabilityService implements AvailabilityProvider {
  constructor(
    private readonly store: BlobStore,
    private readonly catalog: ImageCatalog,
    private readonly space: StoreSpace,
    private readonly claims: OriginClaims,
  ) {}

  async describe(digests: readonly Digest[]): Promise<ReadonlyMap<Digest, BlobAvailability>> {
    const stored = await this.store.describe(digests);
    const derived = this.derivedManifests();
    const answers = new Map<Digest, BlobAvailability>();
    for (const digest of digests) {
      const blob = stored.get(digest);
      const origin = this.claims.of(digest);
      if (blob) this.space.touch(digest);
      if (!blob && !origin) continue;
      const repacked = derived.get(digest);
      answers.set(digest, {
        ...(blob ?? { size: 0, complete: false }),
        ...(origin ? { origin } : {}),
        ...(repacked ? { derived: repacked } : {}),
      });
    }
    return answers;
  }

  /** Root digests of images that are here in repacked form. */
  private derivedManifests(): Map<Digest, { digest: Digest; size: number }> {
    const manifests = new Map<Digest, { digest: Digest; size: number }>();
    for (const { root, derived, blobs } of this.catalog.list()) {
      const size = blobs.find(({ digest }) => digest === derived)?.size;
      if (derived && size !== undefined) manifests.set(root, { digest: derived, size });
    }
    return manifests;
  }
}
