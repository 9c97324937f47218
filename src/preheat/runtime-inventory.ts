import { Inject, Injectable } from '@nestjs/common';

import { withTimeout } from '../common/abort.js';
import { Clock } from '../common/clock.js';
import { PreheatFailure } from '../domain/errors.js';
import { CoalescedCall } from '../runtime/coalesced-call.js';
import { ImageRuntime, type RuntimeImage, type RuntimeSnapshot } from '../runtime/image-runtime.js';
import { runtimeName, type WantedImage } from './wanted-image.js';

/** Answers this old are given again, so that many who ask at once cost the runtime one call. */
const MAX_AGE_MS = 1000;
const TIMEOUT_MS = 30_000;

/** What the runtime has, asked at most once a second however many want to know. */
@Injectable()
export class RuntimeInventory {
  private readonly listing = new CoalescedCall((signal) => this.list(signal));
  private known: { readonly atMs: number; readonly answer: Promise<RuntimeSnapshot> } | undefined;
  private generation = 0;

  constructor(
    @Inject(ImageRuntime) private readonly runtime: ImageRuntime,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  /**
   * The runtime is left alone when nobody waits for its answer any longer.
   * @throws PreheatFailure `runtime_unreachable`, `runtime_error`
   */
  async snapshot(signal: AbortSignal): Promise<RuntimeSnapshot> {
    signal.throwIfAborted();
    if (this.known && this.clock.monotonicMs() - this.known.atMs <= MAX_AGE_MS) return this.known.answer;
    return this.listing.run(signal);
  }

  /** What the runtime did changes what it has: the next to ask gets a fresh answer. */
  invalidate(): void {
    this.generation += 1;
    this.known = undefined;
    this.listing.separate();
  }

  async find(
    wanted: Pick<WantedImage, 'image' | 'reference'>,
    signal: AbortSignal,
  ): Promise<RuntimeImage | undefined> {
    return (await this.snapshot(signal)).images.get(runtimeName(wanted));
  }

  private async list(signal: AbortSignal): Promise<RuntimeSnapshot> {
    const { generation } = this;
    const atMs = this.clock.monotonicMs();
    const late = (): Error =>
      new PreheatFailure('runtime_unreachable', `the runtime did not answer within ${TIMEOUT_MS / 1000} s`);
    const answer = withTimeout(TIMEOUT_MS, late, (limited) => this.runtime.list(limited), signal);
    const settle = (): void => {
      if (generation === this.generation && !signal.aborted) this.known = { atMs, answer };
    };
    answer.then(settle, settle);
    return answer;
  }
}
