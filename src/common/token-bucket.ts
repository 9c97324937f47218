import { abandonable } from './abandonable.js';
import { type Clock, systemClock } from './clock.js';

const BURST_SECONDS = 0.25;

/**
 * Limits a rate across everyone who shares the bucket: callers wait in order of arrival.
 * It holds at most a quarter of a second's worth: enough for the pauses of a busy machine, whose timers come late, to be
 * made up for, and so little that a rate measured over 5 s stays within 5 % after any pause.
 */
export class TokenBucket {
  /** The most that it saves up. Whoever takes no more at once stays within 5 % of the rate over 5 s; without a limit Infinity. */
  readonly burst: number;
  private available: number;
  private updatedMs: number;
  private tail: Promise<void> = Promise.resolve();

  /** @param ratePerSecond tokens (bytes) per second; 0 means no limit */
  constructor(
    private readonly ratePerSecond: number,
    private readonly clock: Clock = systemClock,
  ) {
    this.burst = ratePerSecond === 0 ? Infinity : Math.floor(ratePerSecond * BURST_SECONDS);
    this.available = this.burst;
    this.updatedMs = clock.monotonicMs();
  }

  /** Resolves once `count` tokens are the caller's. A caller that aborts pays nothing and holds up nobody. */
  async take(count: number, signal?: AbortSignal): Promise<void> {
    if (this.ratePerSecond === 0) return;
    const turn = this.tail.then(() => this.pay(count, signal));
    this.tail = turn.catch(() => undefined);
    await (signal ? abandonable(turn, signal) : turn);
  }

  /** More than the burst may be taken at once: the bucket goes into debt, and the next caller waits for it. */
  private async pay(count: number, signal: AbortSignal | undefined): Promise<void> {
    // Whoever left while it waited for its turn.
    signal?.throwIfAborted();
    this.refill();
    if (this.available < 0) {
      await this.clock.sleep((-this.available / this.ratePerSecond) * 1000, signal);
      this.refill();
    }
    this.available -= count;
  }

  private refill(): void {
    const nowMs = this.clock.monotonicMs();
    this.available = Math.min(
      this.burst,
      this.available + ((nowMs - this.updatedMs) / 1000) * this.ratePerSecond,
    );
    this.updatedMs = nowMs;
  }
}
