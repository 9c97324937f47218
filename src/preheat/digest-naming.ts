import { Inject, Injectable } from '@nestjs/common';

import { anySignal, withTimeout } from '../common/abort.js';
import { Clock } from '../common/clock.js';
import type { Digest } from '../domain/digest.js';
import { messageOf, PreheatFailure, reasonOf } from '../domain/errors.js';
import { digestName } from '../domain/image-reference.js';
import { isRegistryReason } from '../domain/preheat-state.js';
import { LockService } from '../lock/lock.service.js';
import { RepoDigestRestorer } from '../runtime/repo-digest-restorer.js';
import { HolderRun } from './holder-run.js';
import { StatusStore } from './status.store.js';
import { unnamedMessage } from './unnamed-message.js';
import { Upkeep } from './upkeep.js';
import { keyOf, type WantedImage } from './wanted-image.js';

/** A manifest is small: a registry that takes longer does not answer. */
const TIMEOUT_MS = 30_000;
/** The runtime is looked at again after this long, whatever is waited for: the image may have got its name, or be gone. */
const LOOK_AGAIN_MS = 60_000;

/**
 * Lets the runtime resolve an image by its digest where it has to ask the registry for that, by itself: the same lock
 * and the same failures bind it as all who read from there. The image is ready meanwhile, and says what it waits for.
 */
@Injectable()
export class DigestNaming {
  constructor(
    private readonly lock: LockService,
    private readonly holder: HolderRun,
    @Inject(RepoDigestRestorer) private readonly restorer: RepoDigestRestorer,
    private readonly upkeep: Upkeep,
    private readonly status: StatusStore,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  /**
   * One try, or a while of waiting until another makes sense.
   * @throws PreheatFailure `runtime_unreachable`
   */
  async tryOnce(wanted: WantedImage, digest: Digest, signal: AbortSignal): Promise<void> {
    const { failure } = await this.lock.lookup(keyOf(wanted), signal);
    if (failure) {
      const why = `the node that asked the registry for all met ${failure.reason}`;
      return this.wait(wanted, why, Math.min(failure.retryAfterMs, LOOK_AGAIN_MS), signal);
    }
    try {
      if (await this.ask(wanted, digest, signal)) await this.upkeep.sweepNames(signal);
      else await this.clock.sleep(this.lock.pollIntervalMs(), signal);
    } catch (error) {
      signal.throwIfAborted();
      const reason = reasonOf(error, 'runtime_error');
      if (reason === 'runtime_unreachable') throw error;
      // What is the registry's stands in the record now, and that says for how long.
      const waitMs = isRegistryReason(reason) ? this.lock.pollIntervalMs() : LOOK_AGAIN_MS;
      await this.wait(wanted, messageOf(error), waitMs, signal);
    }
  }

  /** @returns false when another node has the lock */
  private async ask(wanted: WantedImage, digest: Digest, signal: AbortSignal): Promise<boolean> {
    const late = (): Error =>
      new PreheatFailure('registry_unreachable', `no manifest came within ${TIMEOUT_MS / 1000} s`);
    const asked = await this.holder.underLease(wanted, false, signal, async (lease) => {
      const name = digestName(wanted.reference, digest);
      const leased = anySignal(signal, lease.signal);
      await withTimeout(TIMEOUT_MS, late, (limited) => this.restorer.restore(name, limited), leased);
      await lease.succeed();
      return true;
    });
    return asked ?? false;
  }

  private async wait(wanted: WantedImage, why: string, waitMs: number, signal: AbortSignal): Promise<void> {
    this.status.enter(keyOf(wanted), 'ready', { message: unnamedMessage('auto', why) });
    await this.clock.sleep(waitMs, signal);
  }
}
