import type { Clock } from './clock.js';

interface Pause {
  readonly untilMs: number;
  readonly ended: Promise<void>;
}

/** Lets one loop sleep until something has happened, or it is time to look anyway. */
export class Bell {
  private rung = Promise.withResolvers<undefined>();
  private pause: Pause | undefined;

  constructor(private readonly clock: Clock) {}

  /** Wakes whoever waits; when nobody does, the next wait ends at once. */
  ring(): void {
    this.rung.resolve(undefined);
  }

  /** Resolves after `durationMs` at the latest. @throws the signal's reason */
  async wait(durationMs: number, signal: AbortSignal): Promise<void> {
    await Promise.race([this.rung.promise, this.pauseOf(durationMs, signal)]);
    this.rung = Promise.withResolvers();
    signal.throwIfAborted();
  }

  /**
   * A pause that a ring has cut short serves the next wait, too, which may end earlier by it: a timer and an abort of
   * it at every ring cost more than a look too many.
   */
  private pauseOf(durationMs: number, signal: AbortSignal): Promise<void> {
    const untilMs = this.clock.monotonicMs() + durationMs;
    if (this.pause && this.pause.untilMs <= untilMs) return this.pause.ended;
    const ended = this.clock
      .sleep(durationMs, signal)
      .catch(() => undefined)
      .finally(() => {
        if (this.pause === pause) this.pause = undefined;
      });
    const pause = { untilMs, ended };
    this.pause = pause;
    return ended;
  }
}
