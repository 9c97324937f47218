import { Inject, Injectable, Logger } from '@nestjs/common';

import { Clock } from '../common/clock.js';
import type { PreheatFailure } from '../domain/errors.js';
import type { PreheatState } from '../domain/preheat-state.js';
import type { ImageKey } from '../lock/image-key.js';
import { PreheatMetrics } from '../metrics/preheat-metrics.js';
import type { ImageStatus, StatusDetails } from './image-status.js';

const REPEAT_LOG_MS = 10 * 60_000;

/** What is known of every wanted image; one info line per change of state, repeats of one failure every 10 minutes. */
@Injectable()
export class StatusStore {
  private readonly logger = new Logger('Preheat');
  private readonly statuses = new Map<string, ImageStatus>();
  private readonly loggedFailures = new Map<string, { readonly text: string; readonly atMs: number }>();

  constructor(
    @Inject(Clock) private readonly clock: Clock,
    private readonly metrics: PreheatMetrics,
  ) {}

  get(name: ImageKey): ImageStatus | undefined {
    return this.statuses.get(statusKey(name));
  }

  list(): readonly ImageStatus[] {
    return [...this.statuses.values()];
  }

  /** Enters `state`; what was known of the state before (reason, message, retryAt) is gone, the rest stays. */
  enter({ image, platform }: ImageKey, state: PreheatState, details: StatusDetails = {}): void {
    const key = statusKey({ image, platform });
    const before = this.statuses.get(key);
    const { digest, source, bytesDone = 0, bytesTotal = 0, drift } = before ?? {};
    const kept = {
      ...(digest ? { digest } : {}),
      ...(source ? { source } : {}),
      ...(drift === undefined ? {} : { drift }),
    };
    const since = before?.state === state ? before.since : new Date(this.clock.wallMs()).toISOString();
    const status: ImageStatus = { image, platform, ...kept, bytesDone, bytesTotal, ...details, state, since };
    this.statuses.set(key, status);
    this.metrics.state(image, state);
    if (details.drift !== undefined) this.metrics.drift(image, details.drift);
    if (this.isNews(key, before, status)) this.log(status);
  }

  /** Enters `failed`, with the time of the next try. */
  fail(
    key: ImageKey,
    { reason, message }: Pick<PreheatFailure, 'reason' | 'message'>,
    retryInMs: number,
  ): void {
    const retryAt = new Date(this.clock.wallMs() + retryInMs).toISOString();
    this.enter(key, 'failed', { reason, message, retryAt });
  }

  /** Adds details without a change of state. */
  update(name: ImageKey, details: StatusDetails): void {
    const key = statusKey(name);
    const before = this.statuses.get(key);
    if (before) this.statuses.set(key, { ...before, ...details });
    if (details.drift !== undefined) this.metrics.drift(name.image, details.drift);
  }

  /** The image is not wanted any more. @param lastOfImage no other platform of it is: its metrics go too */
  forget(name: ImageKey, lastOfImage: boolean): void {
    this.statuses.delete(statusKey(name));
    this.loggedFailures.delete(statusKey(name));
    if (lastOfImage) this.metrics.forgetImage(name.image);
  }

  private isNews(key: string, before: ImageStatus | undefined, after: ImageStatus): boolean {
    if (after.state !== 'failed') {
      // On its way to the next failure an image passes the same states again and again: silent until it succeeds.
      return before?.state !== after.state && (after.state === 'ready' || !this.loggedFailures.has(key));
    }
    const text = `${after.reason ?? ''} ${after.message ?? ''}`;
    const logged = this.loggedFailures.get(key);
    const nowMs = this.clock.monotonicMs();
    if (logged?.text === text && nowMs - logged.atMs < REPEAT_LOG_MS) return false;
    this.loggedFailures.set(key, { text, atMs: nowMs });
    return true;
  }

  private log({ image, platform, state, ...details }: ImageStatus): void {
    if (state === 'ready') this.loggedFailures.delete(statusKey({ image, platform }));
    const line = { image, platform, state, ...details };
    if (state === 'failed') this.logger.warn(line, 'image failed');
    else this.logger.log(line, 'image state');
  }
}

function statusKey({ image, platform }: ImageKey): string {
  return `${image} ${platform}`;
}
