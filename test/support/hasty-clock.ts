import { type Clock, systemClock } from '../../src/common/clock.js';

/** Real time, only faster: what waits for seconds waits for fractions of them, and everything keeps its proportions. */
export class HastyClock implements Clock {
  constructor(private readonly factor: number) {}

  monotonicMs(): number {
    return systemClock.monotonicMs() * this.factor;
  }

  wallMs(): number {
    return systemClock.wallMs();
  }

  sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    return systemClock.sleep(durationMs / this.factor, signal);
  }
}
