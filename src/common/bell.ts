import { anySignal } from './abort.js';
import type { Clock } from './clock.js';

/** Nobody sees it; an abort without a reason would make one, stack and all, at every ring. */
const WOKEN = new Error('woken');

/** Lets one loop sleep until something has happened, or it is time to look anyway. */
export class Bell {
  private rung = Promise.withResolvers<undefined>();

  constructor(private readonly clock: Clock) {}

  /** Wakes whoever waits; when nobody does, the next wait ends at once. */
  ring(): void {
    this.rung.resolve(undefined);
  }

  /** @throws the signal's reason */
  async wait(durationMs: number, signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    const pause = this.clock.sleep(durationMs, anySignal(signal, woken.signal)).catch(() => undefined);
    await Promise.race([this.rung.promise, pause]);
    woken.abort(WOKEN);
    this.rung = Promise.withResolvers();
    signal.throwIfAborted();
  }
}
