import { Injectable } from '@nestjs/common';

import { PreheatMetrics } from '../metrics/preheat-metrics.js';
import { FailurePause } from './failure-pause.js';
import { ImagePreheater } from './image.preheater.js';
import type { ImageSession } from './image-session.js';
import { ImageSessions } from './image-sessions.js';
import { RuntimeInventory } from './runtime-inventory.js';
import { StatusStore } from './status.store.js';
import { keyOf, type WantedImage } from './wanted-image.js';

/** Tries until one image is ready, and says how it goes. */
@Injectable()
export class PreheatRunner {
  constructor(
    private readonly preheater: ImagePreheater,
    private readonly sessions: ImageSessions,
    private readonly inventory: RuntimeInventory,
    private readonly status: StatusStore,
    private readonly metrics: PreheatMetrics,
    private readonly pause: FailurePause,
  ) {}

  /** Resolves when the image is ready, by our doing or another's; rejects only with the signal's reason. */
  async run(wanted: WantedImage, signal: AbortSignal): Promise<void> {
    for (let failures = 0; ;) {
      try {
        if (await this.isReady(wanted, signal)) return;
        await this.tryOnce(wanted, signal);
        return;
      } catch (error) {
        signal.throwIfAborted();
        failures += 1;
        await this.pause.after(wanted, error, failures, signal);
      }
    }
  }

  private async isReady(wanted: WantedImage, signal: AbortSignal): Promise<boolean> {
    if (!(await this.inventory.find(wanted, signal))) return false;
    this.status.enter(keyOf(wanted), 'ready');
    return true;
  }

  private async tryOnce(wanted: WantedImage, signal: AbortSignal): Promise<void> {
    const session = this.sessions.open(wanted, await this.inventory.snapshot(signal));
    try {
      const message = await session.withinDeadline(signal, (limited) =>
        this.preheater.preheat(session, limited),
      );
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
    this.metrics.uniqueBytes(wanted.image, session.blobBytes);
    this.metrics.preheated(wanted.image, progress.source);
    for (const [peer, durationMs] of session.peerDurations())
      this.metrics.peerFetch(wanted.image, peer, durationMs);
    this.status.enter(keyOf(wanted), 'ready', { ...progress, drift: false, ...(message ? { message } : {}) });
  }
}
