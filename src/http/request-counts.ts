import { Inject, Injectable } from '@nestjs/common';
import type { ThrottlerStorage } from '@nestjs/throttler';

import { Clock } from '../common/clock.js';

const MAX_CLIENTS = 10_000;

interface Window {
  hits: number;
  readonly endsMs: number;
}

/**
 * Requests per client in fixed windows: one small record each, at most 10,000 of them, and no timers. When there are
 * more clients than that, the one whose window began first is forgotten.
 */
@Injectable()
export class RequestCounts implements ThrottlerStorage {
  /** In the order in which the windows began, which with one length for all is the order in which they end. */
  private readonly windows = new Map<string, Window>();

  constructor(@Inject(Clock) private readonly clock: Clock) {}

  get size(): number {
    return this.windows.size;
  }

  /** @param ttl length of a window, milliseconds; in what is returned, times are in seconds, as the guard wants them */
  increment(key: string, ttl: number, limit: number): ReturnType<ThrottlerStorage['increment']> {
    return Promise.resolve(this.count(key, ttl, limit));
  }

  count(key: string, ttl: number, limit: number): Awaited<ReturnType<ThrottlerStorage['increment']>> {
    const nowMs = this.clock.monotonicMs();
    this.forgetEnded(nowMs);
    const window = this.windows.get(key) ?? this.begin(key, nowMs + ttl);
    window.hits += 1;
    const secondsLeft = Math.max(1, Math.ceil((window.endsMs - nowMs) / 1000));
    const isBlocked = window.hits > limit;
    return {
      totalHits: window.hits,
      timeToExpire: secondsLeft,
      isBlocked,
      timeToBlockExpire: isBlocked ? secondsLeft : 0,
    };
  }

  private begin(key: string, endsMs: number): Window {
    const window = { hits: 0, endsMs };
    this.windows.set(key, window);
    if (this.windows.size > MAX_CLIENTS) {
      const oldest = this.windows.keys().next();
      if (oldest.done === false) this.windows.delete(oldest.value);
    }
    return window;
  }

  private forgetEnded(nowMs: number): void {
    for (const [key, window] of this.windows) {
      if (window.endsMs > nowMs) return;
      this.windows.delete(key);
    }
  }
}
