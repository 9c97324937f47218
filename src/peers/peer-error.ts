import { AppError } from '../domain/errors.js';
import type { PeerFailureKind } from '../metrics/peer-failure-kind.js';

export interface PeerErrorOptions {
  readonly cause?: unknown;
  /** The status it answered with, when it answered. */
  readonly status?: number;
  /** It asked to be left alone for this long (`Retry-After`). */
  readonly retryAfterMs?: number;
}

/** A peer could not be reached, refused, or sent something else than was asked for. */
export class PeerError extends AppError {
  readonly code: string;
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(
    readonly kind: PeerFailureKind,
    message: string,
    { cause, status, retryAfterMs }: PeerErrorOptions = {},
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = `PEER_${kind.toUpperCase()}`;
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }

  /** It answered, and has not what it was asked for: no reason to avoid it. */
  get isNotFound(): boolean {
    return this.status === 404;
  }
}
