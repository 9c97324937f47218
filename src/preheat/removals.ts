import { Inject, Injectable } from '@nestjs/common';

import { backoffMs } from '../common/backoff.js';
import { Clock } from '../common/clock.js';
import { PreheatFailure } from '../domain/errors.js';
import type { Presence } from './ready-images.js';
import { StatusStore } from './status.store.js';
import { idOf, keyOf, type WantedImage } from './wanted-image.js';
import { WantedImages } from './wanted-images.js';

/** An image that was there for longer than this was not removed for being in the way. */
const SOON_MS = 30 * 60_000;
/** So many removals in a row may have been somebody's wish to have it fresh. */
const FREE_REMOVALS = 2;
const PAUSE = { initialMs: 60_000, maxMs: 60 * 60_000 };
/** How often it is looked whether the pause is over for another reason. */
const LOOK_MS = 10_000;
/** Images that are remembered; the one whose last change is longest ago goes first. */
const MAX_IMAGES = 10_000;

interface Residence {
  /** Removals in a row, each soon after the image was ready. */
  readonly removals: number;
  /** On the monotonic clock; undefined while it is missing. */
  readonly readyMs?: number;
}

/**
 * Images that something removes from the runtime soon after they are ready, again and again: kubelet's garbage collection on a
 * full disk, a prune. Fetching them at once each time would fill the disk for it to be emptied, for ever.
 */
@Injectable()
export class Removals {
  private readonly residences = new Map<string, Residence>();

  constructor(
    private readonly wanted: WantedImages,
    private readonly status: StatusStore,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  /** The image is in the runtime. */
  ready(image: WantedImage): void {
    const removals = this.residences.get(idOf(image))?.removals ?? 0;
    this.set(image, { removals, readyMs: this.clock.monotonicMs() });
  }

  /**
   * The image is missing: shows why it is left alone, and waits, where it was removed too often. A request for it ends
   * the wait, and so does its coming back.
   * @param look what there is of it in the runtime now
   * @returns what there is of it then
   */
  async outlast(image: WantedImage, look: () => Promise<Presence>, signal: AbortSignal): Promise<Presence> {
    const removals = this.count(image);
    if (removals <= FREE_REMOVALS || this.wanted.isAskedFor(image)) return { kind: 'missing' };
    const pauseMs = backoffMs(removals - FREE_REMOVALS, PAUSE);
    const untilMs = this.clock.monotonicMs() + pauseMs;
    this.status.fail(keyOf(image), removedTooOften(removals), pauseMs);
    for (;;) {
      const leftMs = untilMs - this.clock.monotonicMs();
      if (leftMs <= 0 || this.wanted.isAskedFor(image)) return { kind: 'missing' };
      await this.clock.sleep(Math.min(leftMs, LOOK_MS), signal);
      const presence = await look();
      if (presence.kind !== 'missing') return presence;
    }
  }

  /** Removals in a row, this one among them where it was ready since the last. */
  private count(image: WantedImage): number {
    const { removals = 0, readyMs } = this.residences.get(idOf(image)) ?? {};
    if (readyMs === undefined) return removals;
    const counted = this.clock.monotonicMs() - readyMs < SOON_MS ? removals + 1 : 0;
    this.set(image, { removals: counted });
    return counted;
  }

  private set(image: WantedImage, residence: Residence): void {
    this.residences.delete(idOf(image));
    this.residences.set(idOf(image), residence);
    const [oldest] = this.residences.keys();
    if (oldest !== undefined && this.residences.size > MAX_IMAGES) this.residences.delete(oldest);
  }
}

function removedTooOften(removals: number): PreheatFailure {
  return new PreheatFailure(
    'runtime_error',
    `something removed it from the runtime ${removals} times, each soon after it was ready, as kubelet does when the ` +
      'disk gets full: it is fetched again at retryAt, or when it is requested',
  );
}
