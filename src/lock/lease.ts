import type { Digest } from '../domain/digest.js';
import type { FailureReason } from '../domain/preheat-state.js';
import type { ImageKey } from './image-key.js';
import type { RecordOrigin } from './record.js';

/**
 * The right of this process to read one image from the registry, for all the cluster. Its holder must end it, by
 * `succeed`, `fail` or `release`, also after `signal` aborted.
 */
export interface Lease {
  readonly key: ImageKey;

  /** Aborts when the lease is lost, may be lost, or was given back. */
  readonly signal: AbortSignal;

  /**
   * Whether the registry may be read at this very moment: ask before every request and every write of its answer,
   * for a process that was frozen learns it here first.
   */
  mayReadRegistry(): boolean;

  /**
   * Tells everyone what the tag means, and that this node is getting it. A failure before has not to be waited out any
   * more; it counts on until `succeed`.
   * @throws PreheatFailure `lock_unavailable` when the lease ends before the record is written, `lock_full`
   */
  publish(digest: Digest, origin: RecordOrigin): Promise<void>;

  /** Gives the lease back with the image here: the failures before are over. Never throws, as `release`. */
  succeed(): Promise<void>;

  /**
   * Gives the lease back after a failure. One that is the registry's doing is written into the record, for all to
   * honour; any other is this node's own. Never throws.
   * @param retryAfterMs what the registry asked for
   */
  fail(reason: FailureReason, retryAfterMs?: number): Promise<void>;

  /** Gives the lease back; the digest stays. Never throws, and may be called again. */
  release(): Promise<void>;
}
