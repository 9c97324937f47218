import { Injectable } from '@nestjs/common';

import { anySignal } from '../common/abort.js';
import type { Digest } from '../domain/digest.js';
import { PreheatFailure } from '../domain/errors.js';
import type { FailureReason } from '../domain/preheat-state.js';
import type { Lease } from '../lock/lease.js';
import type { RecordView } from '../lock/record-view.js';
import { RegistryClient } from '../registry/registry-client.js';
import { ArchiveIndex } from '../transfer/archive/archive-index.js';
import type { WantedImage } from './wanted-image.js';

/** Failures of a registry that do not make a digest wrong that it named a while ago. */
const UNREACHABLE: ReadonlySet<FailureReason> = new Set([
  'registry_unreachable',
  'registry_error',
  'rate_limited',
]);

/** Decides, for the whole cluster, what a tag means. */
@Injectable()
export class DigestResolver {
  constructor(
    private readonly registry: RegistryClient,
    private readonly archives: ArchiveIndex,
  ) {}

  /** What an archive of this node says the tag means; it needs no registry. */
  async fromArchive({ image, platform }: WantedImage, signal: AbortSignal): Promise<Digest | undefined> {
    return (await this.archives.find(image, platform, signal))?.root;
  }

  /**
   * Resolves the tag once and publishes the digest at once, so that everyone can begin. A known digest that is only due
   * for a check outlives a registry that cannot be reached.
   * @param known the digest of the record, when it is stale
   */
  async resolve(
    wanted: WantedImage,
    lease: Lease,
    known: RecordView | undefined,
    signal: AbortSignal,
  ): Promise<Digest> {
    const archived = known?.digest ? undefined : await this.fromArchive(wanted, signal);
    if (archived) {
      await lease.publish(archived, 'archive');
      return archived;
    }
    try {
      if (!lease.mayReadRegistry()) throw new PreheatFailure('lock_unavailable', 'the lock was lost');
      const { digest } = await this.registry.resolve(wanted.reference, anySignal(signal, lease.signal));
      await lease.publish(digest, 'registry');
      return digest;
    } catch (error) {
      const outlives = known?.digest && error instanceof PreheatFailure && UNREACHABLE.has(error.reason);
      if (outlives) return known.digest;
      throw error;
    }
  }
}
