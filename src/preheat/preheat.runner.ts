import { Injectable } from '@nestjs/common';

import { DigestNaming } from './digest-naming.js';
import { FailurePause } from './failure-pause.js';
import { PreheatAttempt } from './preheat.attempt.js';
import { type Presence, ReadyImages } from './ready-images.js';
import { RuntimeInventory } from './runtime-inventory.js';
import { Removals } from './removals.js';
import type { WantedImage } from './wanted-image.js';

/** Tries until one image is ready under all the names it is to have. */
@Injectable()
export class PreheatRunner {
  constructor(
    private readonly attempt: PreheatAttempt,
    private readonly ready: ReadyImages,
    private readonly naming: DigestNaming,
    private readonly inventory: RuntimeInventory,
    private readonly pause: FailurePause,
    private readonly removals: Removals,
  ) {}

  /** Resolves when the image is ready, by our doing or another's; rejects only with the signal's reason. */
  async run(wanted: WantedImage, signal: AbortSignal): Promise<void> {
    for (let failures = 0; ;) {
      try {
        await this.tryOnce(wanted, signal);
        this.removals.ready(wanted);
        return;
      } catch (error) {
        signal.throwIfAborted();
        failures += 1;
        await this.pause.after(wanted, error, failures, signal);
      }
    }
  }

  private async tryOnce(wanted: WantedImage, signal: AbortSignal): Promise<void> {
    const look = (): Promise<Presence> => this.look(wanted, signal);
    let presence = await look();
    if (presence.kind === 'missing') presence = await this.removals.outlast(wanted, look, signal);
    if (presence.kind === 'missing') {
      const message = await this.attempt.make(wanted, await this.inventory.snapshot(signal), signal);
      if (message === undefined) return;
      presence = await this.look(wanted, signal);
    }
    while (presence.kind === 'unnamed') {
      await this.naming.tryOnce(wanted, presence.digest, signal);
      this.inventory.invalidate();
      presence = await this.look(wanted, signal);
    }
  }

  private async look(wanted: WantedImage, signal: AbortSignal): Promise<Presence> {
    return this.ready.recognise(wanted, await this.inventory.snapshot(signal), signal);
  }
}
