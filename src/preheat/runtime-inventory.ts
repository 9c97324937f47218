import { Inject, Injectable } from '@nestjs/common';

import { Clock } from '../common/clock.js';
import { ImageRuntime, type RuntimeImage, type RuntimeSnapshot } from '../runtime/image-runtime.js';
import { runtimeName, type WantedImage } from './wanted-image.js';

/** Answers this old are given again, so that many who ask at once cost the runtime one call. */
const MAX_AGE_MS = 1000;
const TIMEOUT_MS = 30_000;

/** What the runtime has, asked at most once a second however many want to know. */
@Injectable()
export class RuntimeInventory {
  private asked: { readonly atMs: number; readonly answer: Promise<RuntimeSnapshot> } | undefined;

  constructor(
    @Inject(ImageRuntime) private readonly runtime: ImageRuntime,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  /** @throws PreheatFailure `runtime_unreachable`, `runtime_error` */
  snapshot(): Promise<RuntimeSnapshot> {
    const nowMs = this.clock.monotonicMs();
    if (!this.asked || nowMs - this.asked.atMs > MAX_AGE_MS) {
      const answer = this.runtime.list(AbortSignal.timeout(TIMEOUT_MS));
      answer.catch(() => undefined);
      this.asked = { atMs: nowMs, answer };
    }
    return this.asked.answer;
  }

  /** What the runtime did changes what it has: the next to ask gets a fresh answer. */
  invalidate(): void {
    this.asked = undefined;
  }

  async find(wanted: Pick<WantedImage, 'image' | 'reference'>): Promise<RuntimeImage | undefined> {
    return (await this.snapshot()).images.get(runtimeName(wanted));
  }
}
