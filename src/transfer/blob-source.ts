import type { Readable } from 'node:stream';

import type { Digest } from '../domain/digest.js';
import type { Source } from '../domain/preheat-state.js';

/** A blob that is wanted: `size` in bytes, `mediaType` tells manifests from other blobs. */
export interface WantedBlob {
  readonly digest: Digest;
  readonly size: number;
  readonly mediaType: string;
}

/** Bytes `[start, end)` of a blob. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** A range of a blob being sent: that which was asked for, or all of the blob. */
export interface OpenedRange extends ByteRange {
  readonly stream: Readable;
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
   * The bytes of `range`. A source without ranges may send the whole blob instead: the answer says what it sends.
   * Throws an `AppError` with the reason; the stream is destroyed, not ended, when it fails midway.
   */
  open(blob: WantedBlob, range: ByteRange, signal: AbortSignal): Promise<OpenedRange>;
}
