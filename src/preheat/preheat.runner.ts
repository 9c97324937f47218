import { Inject, Injectable } from '@nestjs/common';

import { backoffMs } from '../common/backoff.js';
import { Clock } from '../common/clock.js';
import { messageOf, PreheatFailure } from '../domain/errors.js';
import { PreheatMetrics } from '../metrics/preheat-metrics.js';
import { ImagePreheater } from './image.preheater.js';
import type { ImageSession } from './image-session.js';
import { ImageSessions } from './image-sessions.js';
import { RuntimeInventory } from './runtime-inventory.js';
import { StatusStore } from './status.store.js';
import { keyOf, type WantedImage } from './wanted-image.js';

const RETRY = { initialMs: 5000, maxMs: 5 * 60_000 };

/** Tries until one image is ready, and says how it goes. */
@Injectable()
export class PreheatRunner {
  constructor(
    private readonly preheater: ImagePreheater,
    private readonly sessions: ImageSessions,
    private readonly inventory: RuntimeInventory,
    private readonly status: StatusStore,
    private readonly metrics: PreheatMetrics,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  /** Resolves when the image is ready, by our doing or another's; rejects only with the signal's reason. */
  async run(wanted: WantedImage, signal: AbortSignal): Promise<void> {
    for (let failures = 0; ;) {
      try {
        if (await this.isReady(wanted)) return;
        await this.tryOnce(wanted, signal);
        return;
      } catch (error) {
        signal.throwIfAborted();
        failures += 1;
        const delayMs = this.fail(wanted, error, failures);
        await this.clock.sleep(delayMs, signal);
      }
    }
  }

  private async isReady(wanted: WantedImage): Promise<boolean> {
    if (!(await this.inventory.find(wanted))) return false;
    this.status.enter(keyOf(wanted), 'ready');
    return true;
  }

  private async tryOnce(wanted: WantedImage, signal: AbortSignal): Promise<void> {
    const { identifiesBy } = await this.inventory.snapshot();
    const session = this.sessions.open(wanted, identifiesBy);
    try {
      const message = await this.preheater.preheat(session, signal);
      this.inventory.invalidate();
      this.succeed(session, message);
    } catch (error) {
      if (!signal.aborted) this.metrics.preheatFailed(wanted.image, session.progress.source);
      throw error;
    } finally {
      session.close();
    }
  }

  private succeed(session: ImageSession, message: string | undefined): void {
    const { wanted, progress } = session;
    this.metrics.uniqueBytes(wanted.image, progress.bytesTotal);
    this.metrics.preheated(wanted.image, progress.source);
    for (const [peer, durationMs] of session.peerDurations())
      this.metrics.peerFetch(wanted.image, peer, durationMs);
    this.status.enter(keyOf(wanted), 'ready', { ...progress, drift: false, ...(message ? { message } : {}) });
  }

  /** @returns how long to wait before the next try, in milliseconds */
  private fail(wanted: WantedImage, error: unknown, failures: number): number {
    const { reason, message, retryAfterMs } =
      error instanceof PreheatFailure
        ? error
        : new PreheatFailure('runtime_error', `unexpected: ${messageOf(error)}`, { cause: error });
    const delayMs = Math.max(retryAfterMs ?? 0, backoffMs(failures, RETRY));
    const retryAt = new Date(this.clock.wallMs() + delayMs).toISOString();
    this.status.enter(keyOf(wanted), 'failed', { reason, message, retryAt });
    return delayMs;
  }
}
