import type { Clock } from '../../src/common/clock.js';

/** Time that passes only when somebody sleeps or the test says so; sleeping takes no real time and is recorded. */
export class InstantClock implements Clock {
  readonly sleepsMs: number[] = [];
  private nowMs = 1_000_000;

  monotonicMs(): number {
    return this.nowMs;
  }

  wallMs(): number {
    return Date.UTC(2030, 0, 1) + this.nowMs;
  }

  advance(durationMs: number): void {
    this.nowMs += durationMs;
  }

  sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.sleepsMs.push(durationMs);
    this.advance(durationMs);
    return Promise.resolve();
  }
}
