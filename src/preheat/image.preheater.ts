import { Inject, Injectable } from '@nestjs/common';

import { Clock } from '../common/clock.js';
import type { Digest } from '../domain/digest.js';
import { PreheatFailure, reasonOf } from '../domain/errors.js';
import type { ImageKey } from '../lock/image-key.js';
import { LockService } from '../lock/lock.service.js';
import type { RecordView } from '../lock/record-view.js';
import type { TransferOutcome } from '../transfer/transfer-request.js';
import type { AttemptOptions } from '../transfer/transfer-session.js';
import { DigestResolver } from './digest-resolver.js';
import { HolderRun } from './holder-run.js';
import { ImageLoader, type LoadOutcome, type LoadSource } from './image-loader.js';
import type { ImageSession } from './image-session.js';
import { usableDigest } from './recorded-digest.js';
import { StatusStore } from './status.store.js';
import { keyOf, type WantedImage } from './wanted-image.js';

/** Between two attempts while others bring what is missing, milliseconds, at random within. */
const WAIT_MS = { min: 200, max: 500 };
/** So often the record is looked at sooner than usual, while its holder has just begun: not through all of a long pull. */
const EAGER_LOOKS = 20;

/** One image's way from missing to ready, on this node. */
@Injectable()
export class ImagePreheater {
  constructor(
    private readonly lock: LockService,
    private readonly resolver: DigestResolver,
    private readonly holder: HolderRun,
    private readonly loader: ImageLoader,
    private readonly status: StatusStore,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  /**
   * Resolves when the runtime has the image. Takes the way of the contract: the digest from the list or the record,
   * bytes from whoever has them, and only when nobody has, the lock and with it the registry.
   * @returns what the user should know beside `ready`, if anything
   * @throws PreheatFailure with the reason; nothing half-done stays behind but verified bytes in the store
   */
  async preheat(session: ImageSession, signal: AbortSignal): Promise<string | undefined> {
    const { wanted } = session;
    this.status.enter(keyOf(wanted), 'resolving');
    const root = await this.bring(session, signal);
    const first = await this.load(session, root, signal);
    if (first.kind === 'loaded') return first.message;
    this.status.enter(keyOf(wanted), 'fetching');
    for (const digest of first.missing) await this.include(session, digest, signal);
    const second = await this.load(session, root, signal);
    if (second.kind === 'loaded') return second.message;
    throw second.cause;
  }

  private load(session: ImageSession, root: Digest, signal: AbortSignal): Promise<LoadOutcome> {
    const { wanted } = session;
    return session.inSlot(signal, (watched) => {
      this.status.enter(keyOf(wanted), 'loading', session.progress);
      const { digest = root, runtimeDirectory } = session;
      const source: LoadSource = { root, digest, runtimeDirectory };
      return this.loader.load(wanted, source, watched, () => session.touch(), session.earlyPull);
    });
  }

  /** What the runtime wants beside the plan comes from where all else comes from: peers, and with the lock the registry. */
  private async include(session: ImageSession, digest: Digest, signal: AbortSignal): Promise<void> {
    while (!(await this.peersInclude(session, digest, signal))) {
      refuseIfHopeless(session.wanted, await this.lock.lookup(keyOf(session.wanted), signal));
      if (await this.holder.include(session, digest, signal)) return;
      await this.clock.sleep(this.lock.pollIntervalMs(), signal);
    }
  }

  private async peersInclude(session: ImageSession, digest: Digest, signal: AbortSignal): Promise<boolean> {
    try {
      await session.include(digest, {}, signal);
      return true;
    } catch (error) {
      if (reasonOf(error, 'runtime_error') === 'no_source') return false;
      throw error;
    }
  }

  /** Rounds of: what do the peers have, and if that is not enough, may this node ask the registry? */
  private async bring(session: ImageSession, signal: AbortSignal): Promise<Digest> {
    const key = keyOf(session.wanted);
    for (let looks = 0; ; looks += 1) {
      const view = await this.lock.lookup(key, signal);
      const fromPeers = await this.fromPeers(session, view, signal);
      if (fromPeers?.kind === 'complete') return fromPeers.root;
      const archived = await this.isArchived(session.wanted, view, signal);
      if (!archived) refuseIfHopeless(session.wanted, view);
      const asHolder = await this.holder.attempt(session, archived, signal);
      if (asHolder?.kind === 'complete') return asHolder.root;
      if (!asHolder) await this.nextLook(key, view, looks < EAGER_LOOKS, signal);
    }
  }

  /**
   * Waits until the record may say more, or somebody may have more. Whoever has lost its turn has just seen the winner's
   * record: what that says is not looked up once more.
   */
  private async nextLook(
    key: ImageKey,
    before: RecordView,
    early: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const known = this.lock.known(key);
    const digest = usableDigest(known);
    if (digest && digest !== usableDigest(before)) return;
    await this.clock.sleep(this.lock.pollIntervalMs(early && known.holder !== undefined), signal);
  }

  /** Whether this node can tell the cluster what the tag means without the registry. */
  private async isArchived(wanted: WantedImage, view: RecordView, signal: AbortSignal): Promise<boolean> {
    if (view.readOnly || view.digest || wanted.reference.digest) return false;
    return (await this.resolver.fromArchive(wanted, signal)) !== undefined;
  }

  /** While somebody is bringing what is missing, nobody else needs to be asked: not even the lock. */
  private async fromPeers(
    session: ImageSession,
    view: RecordView,
    signal: AbortSignal,
  ): Promise<TransferOutcome | undefined> {
    const digest = session.wanted.reference.digest ?? usableDigest(view);
    if (!digest) return undefined;
    const options: AttemptOptions = view.holder ? { holderInstance: view.holder.instance } : {};
    for (;;) {
      const outcome = await session.attempt(digest, options, signal);
      if (outcome.kind !== 'waiting') return outcome;
      await this.waitForOthers(signal);
    }
  }

  private waitForOthers(signal: AbortSignal): Promise<void> {
    return this.clock.sleep(WAIT_MS.min + Math.random() * (WAIT_MS.max - WAIT_MS.min), signal);
  }
}

/** What a try for the lock would not change: a failure that the whole cluster waits out, or a lock that cannot be asked. */
function refuseIfHopeless({ image }: WantedImage, { failure, holder, readOnly }: RecordView): void {
  if (readOnly)
    throw new PreheatFailure('lock_unavailable', `no peer has all of ${image}, and the lock cannot be asked`);
  if (!failure || holder) return;
  throw new PreheatFailure(
    failure.reason,
    'met by the node that asked the registry for all; the cluster waits',
    {
      retryAfterMs: failure.retryAfterMs,
    },
  );
}
