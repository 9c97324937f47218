import { anySignal, StallTimer } from './abort.js';

const STEP_BYTES = 1024 * 1024;

/**
 * Work that must bring at least 1 MiB, or show another sign of life, every `timeoutMs`. The time counts only while
 * `during` runs: whoever waits for a place in a queue is not slow.
 */
export class ProgressWatch {
  private pendingBytes = 0;
  private timer: StallTimer | undefined;

  constructor(
    private readonly timeoutMs: number,
    private readonly error: () => Error,
  ) {}

  /** Bytes arrived; fewer than 1 MiB altogether are no progress yet. */
  add(bytes: number): void {
    this.pendingBytes += bytes;
    if (this.pendingBytes >= STEP_BYTES) this.touch();
  }

  /** A sign of life of another kind. */
  touch(): void {
    this.pendingBytes = 0;
    this.timer?.touch();
  }

  /** Runs `work` under the watch; it must heed the signal it is given. @throws what `error` makes, after a stall */
  async during<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const timer = new StallTimer(this.timeoutMs, this.error);
    this.timer = timer;
    try {
      return await work(anySignal(signal, timer.signal));
    } catch (error) {
      signal.throwIfAborted();
      timer.signal.throwIfAborted();
      throw error;
    } finally {
      timer.stop();
      this.timer = undefined;
    }
  }
}
