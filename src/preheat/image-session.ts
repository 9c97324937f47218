import { withTimeout } from '../common/abort.js';
import type { ProgressWatch } from '../common/progress-watch.js';
import type { Digest } from '../domain/digest.js';
import { PreheatFailure } from '../domain/errors.js';
import type { TransferService } from '../transfer/transfer.service.js';
import type { TransferOutcome, TransferProgress, TransferRequest } from '../transfer/transfer-request.js';
import type { AttemptOptions, TransferSession } from '../transfer/transfer-session.js';
import type { EarlyPull } from './early-pull.js';
import { EarlyStart } from './early-start.js';
import type { ImageLoader } from './image-loader.js';
import type { Slots } from './slots.js';
import type { StatusStore } from './status.store.js';
import { keyOf, type WantedImage } from './wanted-image.js';

export interface SessionServices {
  readonly transfer: TransferService;
  readonly loader: Pick<ImageLoader, 'begin'>;
  readonly slots: Slots;
  readonly status: StatusStore;
}

/** Everything about one image on its way to ready that outlives a single attempt. */
export class ImageSession {
  private transfer: TransferSession | undefined;
  private named: Digest | undefined;
  /** Engines that know images by their manifest may give up on a blob that they have to wait for. */
  private readonly early: EarlyStart | undefined;

  constructor(
    readonly wanted: WantedImage,
    private readonly base: Omit<TransferRequest, 'digest'>,
    private readonly watch: ProgressWatch,
    private readonly services: SessionServices,
    private readonly deadlineMs: number | undefined,
  ) {
    if (base.identifiesBy === 'config')
      this.early = new EarlyStart((root, arrivals) =>
        services.loader.begin(root, arrivals, this.runtimeDirectory),
      );
  }

  /** What the reference means, once an attempt was made at it. */
  get digest(): Digest | undefined {
    return this.named;
  }

  /** Where the runtime unpacks the image, if that is to be watched. */
  get runtimeDirectory(): string | undefined {
    return this.base.runtimeDirectory;
  }

  get progress(): TransferProgress {
    return this.transfer?.progress ?? { bytesDone: 0, bytesTotal: 0, source: 'store' };
  }

  /** Bytes of config and layers, each once. */
  get blobBytes(): number {
    return this.transfer?.blobBytes ?? 0;
  }

  /** The runtime's pull of what the last attempt has completed, if it began before that. */
  get earlyPull(): EarlyPull | undefined {
    return this.early?.pull;
  }

  /** Node names of the contributing peers, with how long each was read from, in milliseconds. */
  peerDurations(): [peer: string, durationMs: number][] {
    return this.transfer?.peerDurations() ?? [];
  }

  /**
   * One attempt at what `digest` names, under the progress watch, in a slot: a lock holder has one already, the others
   * wait for one here.
   */
  async attempt(digest: Digest, options: AttemptOptions, signal: AbortSignal): Promise<TransferOutcome> {
    const transfer = this.transferOf(digest);
    const work = async (watched: AbortSignal): Promise<TransferOutcome> => {
      this.services.status.enter(keyOf(this.wanted), 'fetching', { digest });
      let brought: Digest | undefined;
      try {
        const outcome = await transfer.attempt(options, watched);
        if (outcome.kind === 'complete') brought = outcome.root;
        return outcome;
      } finally {
        await this.early?.keepOnly(brought);
        this.showProgress();
      }
    };
    return options.lease ? this.watch.during(signal, work) : this.inSlot(signal, work);
  }

  /**
   * Fetches a manifest of the image that the plan does not name, under the progress watch.
   * @throws PreheatFailure `no_source` without a lease
   */
  async include(digest: Digest, options: AttemptOptions, signal: AbortSignal): Promise<void> {
    await this.watch.during(signal, async (watched) => this.transfer?.include(digest, options, watched));
  }

  /** Runs `work` in one of the node's slots; the time without progress counts only there. */
  inSlot<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return this.services.slots.work(this.wanted.priority, signal, () => this.watch.during(signal, work));
  }

  /** Runs `work` within `PULLING_DEADLINE`, if there is one. @throws PreheatFailure `timeout` */
  withinDeadline<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { deadlineMs } = this;
    if (deadlineMs === undefined) return work(signal);
    const late = (): Error =>
      new PreheatFailure('timeout', `not ready after PULLING_DEADLINE, ${deadlineMs / 1000} s`);
    return withTimeout(deadlineMs, late, work, signal);
  }

  /** A sign of life that is not bytes. */
  touch(): void {
    this.watch.touch();
  }

  /** The blobs are no longer held for this image. */
  close(): void {
    void this.early?.keepOnly();
    this.transfer?.release();
    this.transfer = undefined;
  }

  private transferOf(digest: Digest): TransferSession {
    if (this.transfer && this.named === digest) return this.transfer;
    this.transfer?.release();
    this.named = digest;
    this.transfer = this.services.transfer.begin(
      { ...this.base, digest },
      {
        onBytes: (count) => {
          this.watch.add(count);
          this.early?.touch();
          this.showProgress();
        },
        onAlive: () => this.touch(),
        onFetching: (image) => this.early?.fetching(image),
        onStored: (digest) => this.early?.stored(digest),
      },
    );
    return this.transfer;
  }

  private showProgress(): void {
    if (this.transfer) this.services.status.update(keyOf(this.wanted), this.transfer.progress);
  }
}
