import type { Readable } from 'node:stream';

import type { Digest } from '../domain/digest.js';
import type { Source } from '../domain/preheat-state.js';

/** A blob that is wanted: `size` in bytes, `mediaType` tells manifests from other blobs. */
export interface WantedBlob {
  readonly digest: Digest;
  readonly size: number;
  readonly mediaType: string;
}

/**
 * One place that blobs come from: an archive, a peer, the registry. What it sends is not trusted: whoever reads from
 * it checks every byte on its way into the store.
 */
export interface BlobSource {
  readonly kind: Exclude<Source, 'store'>;
  /** For logs and metrics: the node, the file, the registry's host. */
  readonly name: string;

  /** Whether it can be asked for the whole of this blob now. */
  has(blob: WantedBlob, signal: AbortSignal): Promise<boolean>;

  /**
   * The bytes from `start` to the blob's end. A source that cannot start there may send from 0: `start` of the answer
   * says where it does. Throws `PreheatFailure` with the reason; the stream is destroyed, not ended, when it fails midway.
   */
  open(
    blob: WantedBlob,
    start: number,
    signal: AbortSignal,
  ): Promise<{ readonly start: number; readonly stream: Readable }>;
}
