import type { FailureReason } from './preheat-state.js';

/** The root of every error this program throws on purpose. `code` is stable, upper snake case, safe to show. */
export abstract class AppError extends Error {
  abstract readonly code: string;

  override get name(): string {
    return this.constructor.name;
  }
}

/** What was given (by a user, a list, a peer) does not parse; the message names the value and what is accepted. */
export class InvalidInputError extends AppError {
  constructor(
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

export interface PreheatFailureOptions {
  readonly cause?: unknown;
  /** Not before this long from now, when the other side said so (`Retry-After`). */
  readonly retryAfterMs?: number;
}

/**
 * An image, or a part of it, could not be had for one of the reasons of the contract.
 * The message is shown to users: it never repeats an upstream's body or a secret.
 */
export class PreheatFailure extends AppError {
  readonly code: string;
  readonly retryAfterMs: number | undefined;

  constructor(
    readonly reason: FailureReason,
    message: string,
    { cause, retryAfterMs }: PreheatFailureOptions = {},
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = reason.toUpperCase();
    this.retryAfterMs = retryAfterMs;
  }
}

/** Anything thrown, as one of the reasons of the contract. */
export function asPreheatFailure(error: unknown): PreheatFailure {
  if (error instanceof PreheatFailure) return error;
  return new PreheatFailure('runtime_error', `unexpected: ${messageOf(error)}`, { cause: error });
}

/** The message of anything thrown, for logs. */
export function messageOf(error: unknown): string {
  // By shape: an error of another realm (a worker, a VM) is no instance of this one's Error.
  const hasMessage = typeof error === 'object' && error !== null && 'message' in error;
  return hasMessage ? String(error.message) : String(error);
}

/** The reason that `error` stands for; what nobody classified is `fallback`. */
export function reasonOf(error: unknown, fallback: FailureReason): FailureReason {
  return error instanceof PreheatFailure ? error.reason : fallback;
}
