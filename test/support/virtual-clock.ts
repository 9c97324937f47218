import { setImmediate } from 'node:timers/promises';

import type { Clock } from '../../src/common/clock.js';

interface Timer {
  readonly atMs: number;
  readonly fire: () => void;
}

/** Time that passes only when told to, at once, however long: for code whose waiting all goes through `Clock`. */
export class VirtualClock implements Clock {
  private nowMs = 0;
  /** Latest first, so that the next one is cheap to take. */
  private readonly timers: Timer[] = [];

  /** @param startMs Unix epoch, milliseconds */
  constructor(private readonly startMs = 1_763_885_000_000) {}

  monotonicMs(): number {
    return this.nowMs;
  }

  wallMs(): number {
    return this.startMs + this.nowMs;
  }

  sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason as Error);
        return;
      }
      const onAbort = () => {
        this.timers.splice(this.timers.indexOf(timer), 1);
        reject(signal?.reason as Error);
      };
      const fire = () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      };
      const timer = { atMs: this.nowMs + Math.max(0, durationMs), fire };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.insert(timer);
    });
  }

  /** Lets `durationMs` pass; after each timer everything that it set going is done before the next. */
  async advance(durationMs: number, afterEach: () => void = () => undefined): Promise<void> {
    const untilMs = this.nowMs + durationMs;
    await setImmediate();
    for (let next = this.timers.at(-1); next && next.atMs <= untilMs; next = this.timers.at(-1)) {
      this.timers.pop();
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.fire();
      await setImmediate();
      afterEach();
    }
    this.nowMs = untilMs;
  }

  /** `work`'s result; time passes while it waits. */
  async run<T>(work: Promise<T>): Promise<T> {
    let settled = false;
    const settle = () => {
      settled = true;
    };
    work.then(settle, settle);
    await setImmediate();
    const isSettled = () => settled;
    for (let next = this.timers.at(-1); !isSettled() && next; next = this.timers.at(-1))
      await this.advance(next.atMs - this.nowMs);
    return work;
  }

  private insert(timer: Timer): void {
    let low = 0;
    let high = this.timers.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.timers[middle]?.atMs ?? 0) > timer.atMs) low = middle + 1;
      else high = middle;
    }
    this.timers.splice(low, 0, timer);
  }
}
