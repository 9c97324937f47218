export interface BackoffOptions {
  readonly initialMs: number;
  readonly maxMs: number;
  /** 0 … 1: up to this part of the delay is taken off at random, so that nodes that failed together do not return together. */
  readonly jitter?: number;
  /** 0 ≤ random() < 1 */
  readonly random?: () => number;
}

/** Delay before the attempt after `failures` failures in a row (1 or more): doubles from `initialMs` up to `maxMs`. */
export function backoffMs(
  failures: number,
  { initialMs, maxMs, jitter = 0.2, random = Math.random }: BackoffOptions,
): number {
  const delay = Math.min(maxMs, initialMs * 2 ** Math.min(failures - 1, 30));
  return delay * (1 - jitter * random());
}
