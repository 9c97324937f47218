import { Injectable } from '@nestjs/common';

import { PreheatMetrics } from '../metrics/preheat-metrics.js';
import type { RuntimeSnapshot } from '../runtime/image-runtime.js';
import { ImagePreheater } from './image.preheater.js';
import type { ImageSession } from './image-session.js';
import { ImageSessions } from './image-sessions.js';
import { PinnedImages } from './pinned-images.js';
import { RuntimeInventory } from './runtime-inventory.js';
import { StatusStore } from './status.store.js';
import { keyOf, type WantedImage } from './wanted-image.js';

/** One attempt at an image within `PULLING_DEADLINE`, and what it was good for, in metrics and status. */
@Injectable()
export class PreheatAttempt {
  constructor(
    private readonly preheater: ImagePreheater,
    private readonly sessions: ImageSessions,
    private readonly inventory: RuntimeInventory,
    private readonly status: StatusStore,
    private readonly metrics: PreheatMetrics,
    private readonly pinned: PinnedImages,
  ) {}

  /**
   * @returns what the user should know beside `ready`, if anything
   * @throws PreheatFailure
   */
  async make(
    wanted: WantedImage,
    snapshot: RuntimeSnapshot,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const session = this.sessions.open(wanted, snapshot);
    try {
      const message = await session.withinDeadline(signal, (limited) =>
        this.preheater.preheat(session, limited),
      );
      this.inventory.invalidate();
      this.succeed(session, message);
      await this.pinned.add(wanted, signal);
      return message;
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
