import type { Digest } from '../domain/digest.js';
import type { FailureReason } from '../domain/preheat-state.js';
import type { RecordOrigin } from './record.js';

/** What the cluster knows of an image, as this node sees it now. */
export interface RecordView {
  readonly digest?: Digest;
  readonly origin?: RecordOrigin;
  /** The digest is older than `TAG_TTL`: the next holder asks the registry first. */
  readonly stale: boolean;
  /** Who may read the registry. Dial `address` (`host:port`) only if discovery lists it. */
  readonly holder?: {
    readonly node: string;
    readonly instance: string;
    readonly address: string;
    readonly mine: boolean;
  };
  /** The last holder's failure, while it must be waited out: nobody tries again for `retryAfterMs` from now. */
  readonly failure?: { readonly reason: FailureReason; readonly retryAfterMs: number };
  /** The record is of a newer version: it counts as held, by whom cannot be told. */
  readonly unknownVersion: boolean;
  /** The lock's backend cannot be asked: this is the last that was known, and nobody may read the registry. */
  readonly readOnly: boolean;
}
