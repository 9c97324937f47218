import { Inject, Injectable } from '@nestjs/common';

import { Clock } from '../common/clock.js';
import type { Digest } from '../domain/digest.js';
import { PreheatFailure, reasonOf } from '../domain/errors.js';
import { isRegistryReason } from '../domain/preheat-state.js';
import type { Lease } from '../lock/lease.js';
import { LockService } from '../lock/lock.service.js';
import { PreheatMetrics } from '../metrics/preheat-metrics.js';
import { PeerService } from '../peers/peer.service.js';
import type { TransferOutcome } from '../transfer/transfer-request.js';
import { DigestResolver } from './digest-resolver.js';
import type { ImageSession } from './image-session.js';
import { usableDigest } from './recorded-digest.js';
import { Slots } from './slots.js';
import { keyOf, type WantedImage } from './wanted-image.js';

/** What a node does that holds an image's lock: it decides what the tag means and may read the registry. */
@Injectable()
export class HolderRun {
  constructor(
    private readonly lock: LockService,
    private readonly resolver: DigestResolver,
    private readonly slots: Slots,
    private readonly peers: PeerService,
    private readonly metrics: PreheatMetrics,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  /**
   * Tries for the lock once and, with it, brings the image into the store.
   * @param archived an archive of this node tells what the tag means: no turn has to be waited for, and no failure of
   * the registry
   * @returns undefined when someone else has the lock, or took it away; `no_source` when the registry could not be asked
   * what has become of a stale digest, which serves meanwhile
   * @throws PreheatFailure after the failure was made known to the cluster, where it is the registry's
   */
  async attempt(
    session: ImageSession,
    archived: boolean,
    signal: AbortSignal,
  ): Promise<TransferOutcome | undefined> {
    const { wanted } = session;
    try {
      return await this.underLease(wanted, archived, signal, async (lease) => {
        const outcome = await this.withLease(session, lease, signal);
        if (outcome.kind === 'complete') await lease.succeed();
        return outcome;
      });
    } catch (error) {
      signal.throwIfAborted();
      if (wanted.reference.digest) throw error;
      const view = await this.lock.lookup(keyOf(wanted), signal);
      if (view.stale && usableDigest(view)) return { kind: 'no_source' };
      throw error;
    }
  }

  /** The same for one part of an image whose runtime asks for more than its plan names. */
  async include(session: ImageSession, digest: Digest, signal: AbortSignal): Promise<boolean> {
    const included = await this.underLease(session.wanted, false, signal, async (lease) => {
      await session.include(digest, { lease }, signal);
      return true;
    });
    return included ?? false;
  }

  /**
   * Tries for an image's lock once, and runs `work` with it. A slot is waited for first: whoever has a lock is waited
   * for by all.
   * @returns undefined when someone else has the lock, or took it away
   * @throws what `work` throws, after it was made known to the cluster where it is the registry's doing
   */
  async underLease<T>(
    wanted: WantedImage,
    archived: boolean,
    signal: AbortSignal,
    work: (lease: Lease) => Promise<T>,
  ): Promise<T | undefined> {
    await this.meetPeers(signal);
    return this.slots.try(wanted.priority, signal, async () => {
      const slot = this.slots.forHolder(signal);
      try {
        const key = keyOf(wanted);
        const lease = archived
          ? await this.lock.acquireForArchive(key, signal, () => slot.take())
          : await this.lock.acquire(key, signal, () => slot.take());
        return lease && (await this.work(wanted, lease, signal, work));
      } finally {
        slot.leave();
      }
    });
  }

  private async work<T>(
    { image }: WantedImage,
    lease: Lease,
    signal: AbortSignal,
    work: (lease: Lease) => Promise<T>,
  ): Promise<T | undefined> {
    const startedMs = this.clock.monotonicMs();
    try {
      const outcome = await work(lease);
      await lease.release();
      return outcome;
    } catch (error) {
      // What a tag means is the registry's to say, too: a wrong tag or password shows as a failed pull.
      if (error instanceof PreheatFailure && isRegistryReason(error.reason))
        this.metrics.registryPull(image, 'failure', this.clock.monotonicMs() - startedMs);
      const lost = lease.signal.aborted && !signal.aborted;
      await this.giveBack(lease, error, signal);
      if (lost && !isRegistryReason(reasonOf(error, 'lock_unavailable'))) return undefined;
      throw error;
    }
  }

  /** A node that knows no peers yet would read from the registry what they have. */
  private async meetPeers(signal: AbortSignal): Promise<void> {
    if (!this.peers.discoveredOnce) await this.peers.refresh(signal);
    if (!this.peers.discoveredOnce)
      throw new PreheatFailure('no_source', 'no look-up of peers has succeeded yet');
  }

  private async withLease(
    session: ImageSession,
    lease: Lease,
    signal: AbortSignal,
  ): Promise<TransferOutcome> {
    const { wanted } = session;
    const view = await this.lock.lookup(keyOf(wanted), signal);
    const recorded = wanted.reference.digest ?? (view.stale ? undefined : view.digest);
    const digest =
      recorded ?? (await this.resolver.resolve(wanted, lease, view.digest ? view : undefined, signal));
    try {
      return await this.read(session, digest, lease, signal);
    } catch (error) {
      // A digest that is gone everywhere: the tag has moved on, and its old manifest was removed. Or it never was of
      // anything: then one wrong header does not cost the cluster the pause after `not_found`.
      if (wanted.reference.digest || reasonOf(error, 'no_source') !== 'not_found') throw error;
      const moved = await this.resolver.resolve(wanted, lease, undefined, signal);
      if (moved === digest) throw error;
      return this.read(session, moved, lease, signal);
    }
  }

  private async read(
    session: ImageSession,
    digest: Digest,
    lease: Lease,
    signal: AbortSignal,
  ): Promise<TransferOutcome> {
    const { image } = session.wanted;
    const startedMs = this.clock.monotonicMs();
    this.metrics.registryPulling(image, true);
    try {
      const outcome = await session.attempt(digest, { lease }, signal);
      if (session.progress.source === 'registry')
        this.metrics.registryPull(image, 'success', this.clock.monotonicMs() - startedMs);
      return outcome;
    } finally {
      this.metrics.registryPulling(image, false);
    }
  }

  /** A shutdown only gives the lease back; a failure is the cluster's business when the registry is to blame. */
  private async giveBack(lease: Lease, error: unknown, signal: AbortSignal): Promise<void> {
    if (signal.aborted || !(error instanceof PreheatFailure)) await lease.release();
    else await lease.fail(error.reason, error.retryAfterMs);
  }
}
