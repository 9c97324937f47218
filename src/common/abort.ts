/** Aborts when any of `signals` does; absent ones are skipped. */
export function anySignal(...signals: readonly (AbortSignal | undefined)[]): AbortSignal {
  return AbortSignal.any(signals.filter((signal) => signal !== undefined));
}

/** True if `error` is what `signal` was aborted with, or an AbortError because of it. */
export function isAbort(error: unknown, signal: AbortSignal): boolean {
  return signal.aborted && (error === signal.reason || isAbortError(error));
}

/** By shape: Node's own may come from another realm, and then are no instances of this one's Error. */
function isAbortError(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'name' in error && error.name === 'AbortError';
}

/** Runs `work` with a signal that also aborts after `timeoutMs`, with `error()` as its reason. The timer never outlives the work. */
export async function withTimeout<T>(
  timeoutMs: number,
  error: () => Error,
  work: (signal: AbortSignal) => Promise<T>,
  parent?: AbortSignal,
): Promise<T> {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(error()), timeoutMs);
  const signal = anySignal(parent, controller.signal);
  try {
    return await work(signal);
  } catch (cause) {
    // Libraries reject with errors of their own when aborted: say why we aborted instead.
    throw isAbort(cause, signal) ? signal.reason : cause;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Aborts its signal when nothing happened for `timeoutMs`. Whoever makes one must `stop` it.
 * `touch` on every sign of life.
 */
export class StallTimer {
  private readonly controller = new AbortController();
  private readonly timer: NodeJS.Timeout;

  constructor(timeoutMs: number, error: () => Error) {
    this.timer = setTimeout(() => this.controller.abort(error()), timeoutMs);
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  touch(): void {
    this.timer.refresh();
  }

  stop(): void {
    clearTimeout(this.timer);
  }
}
