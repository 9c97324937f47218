import { Inject, Injectable } from '@nestjs/common';

import { backoffMs } from '../common/backoff.js';
import { Clock } from '../common/clock.js';
import { asPreheatFailure } from '../domain/errors.js';
import { isRegistryReason } from '../domain/preheat-state.js';
import { LockService } from '../lock/lock.service.js';
import { InsufficientDisk } from '../store/insufficient-disk.js';
import { DigestResolver } from './digest-resolver.js';
import { StatusStore } from './status.store.js';
import { keyOf, type WantedImage } from './wanted-image.js';

const RETRY = { initialMs: 5000, maxMs: 5 * 60_000 };
/** So often a full disk is looked at while an image waits for it. */
const DISK_CHECK_MS = 5_000;

/**
 * What lies between a failed try and the next. A failure of the registry is the cluster's: it is over for all as soon
 * as it is over for one, be it that another node has got through, that an archive was put here, or that the record was
 * removed by hand. A full disk is this node's own: it is over when there is room.
 */
@Injectable()
export class FailurePause {
  constructor(
    private readonly lock: LockService,
    private readonly resolver: DigestResolver,
    private readonly status: StatusStore,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  /**
   * Shows the failure and waits until another try makes sense.
   * @param failures tries of this image that have failed so far
   */
  async after(wanted: WantedImage, error: unknown, failures: number, signal: AbortSignal): Promise<void> {
    const failure = asPreheatFailure(error);
    const delayMs = Math.max(failure.retryAfterMs ?? 0, backoffMs(failures, RETRY));
    this.status.fail(keyOf(wanted), failure, delayMs);
    if (isRegistryReason(failure.reason)) await this.whileRecorded(wanted, delayMs, signal);
    else if (failure instanceof InsufficientDisk) await this.whileFull(failure, delayMs, signal);
    else await this.clock.sleep(delayMs, signal);
  }

  /** At most `delayMs`, watching the disk. */
  private async whileFull(full: InsufficientDisk, delayMs: number, signal: AbortSignal): Promise<void> {
    const untilMs = this.clock.monotonicMs() + delayMs;
    for (let leftMs = delayMs; leftMs > 0; leftMs = untilMs - this.clock.monotonicMs()) {
      await this.clock.sleep(Math.min(leftMs, DISK_CHECK_MS), signal);
      // A disk that cannot be looked at is for the next try to report.
      if (await full.isOver().catch(() => true)) return;
    }
  }

  /** At most `delayMs`, watching the record. */
  private async whileRecorded(wanted: WantedImage, delayMs: number, signal: AbortSignal): Promise<void> {
    const untilMs = this.clock.monotonicMs() + delayMs;
    // One that never reached the record is not over because it is not there.
    let isRecorded = (await this.lock.lookup(keyOf(wanted), signal)).failure !== undefined;
    for (;;) {
      const leftMs = untilMs - this.clock.monotonicMs();
      if (leftMs <= 0) return;
      await this.clock.sleep(Math.min(leftMs, this.lock.pollIntervalMs()), signal);
      const { failure, digest, readOnly } = await this.lock.lookup(keyOf(wanted), signal);
      if (readOnly) continue;
      if (!failure && isRecorded) return;
      isRecorded ||= failure !== undefined;
      if (failure && !digest && (await this.resolver.fromArchive(wanted, signal))) return;
    }
  }
}
