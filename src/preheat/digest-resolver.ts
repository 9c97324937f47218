import { Injectable } from '@nestjs/common';

import { anySignal, withTimeout } from '../common/abort.js';
import type { Digest } from '../domain/digest.js';
import { PreheatFailure, reasonOf } from '../domain/errors.js';
import type { Lease } from '../lock/lease.js';
import type { RecordOrigin } from '../lock/record.js';
import type { RecordView } from '../lock/record-view.js';
import { RegistryClient } from '../registry/registry-client.js';
import { ArchiveIndex } from '../transfer/archive/archive-index.js';
import { doesNotKnow } from './recorded-digest.js';
import type { WantedImage } from './wanted-image.js';

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
   * Resolves the tag once and publishes the digest at once, so that everyone can begin. What an archive said stays in
   * force when the registry does not know the image.
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
    if (!lease.mayReadRegistry()) throw new PreheatFailure('lock_unavailable', 'the lock was lost');
    const { digest, origin } = await this.ask(wanted, lease, known, signal);
    await lease.publish(digest, origin);
    return digest;
  }

  private async ask(
    { image, reference, timeoutMs }: WantedImage,
    lease: Lease,
    known: RecordView | undefined,
    signal: AbortSignal,
  ): Promise<{ digest: Digest; origin: RecordOrigin }> {
    // An answer that comes a byte at a time is none: everyone waits for whoever has the lock.
    const late = (): Error =>
      new PreheatFailure('timeout', `the registry has not said in ${timeoutMs / 1000} s what ${image} is`);
    try {
      const { digest } = await withTimeout(
        timeoutMs,
        late,
        (limited) => this.registry.resolve(reference, limited),
        anySignal(signal, lease.signal),
      );
      return { digest, origin: 'registry' };
    } catch (error) {
      const unknown = doesNotKnow(reasonOf(error, 'registry_error'));
      if (!unknown || known?.origin !== 'archive' || !known.digest) throw error;
      return { digest: known.digest, origin: 'archive' };
    }
  }
}
