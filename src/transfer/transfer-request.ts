import type { Digest } from '../domain/digest.js';
import type { ImageReference } from '../domain/image-reference.js';
import type { Platform } from '../domain/platform.js';
import type { Source } from '../domain/preheat-state.js';

/** One image to be brought into the store. */
export interface TransferRequest {
  /** Canonical reference, as metrics and records name it. */
  readonly image: string;
  readonly reference: ImageReference;
  readonly platform: Platform;
  /** The platform is the node's own: its runtime will pick the right manifest of an index by itself. */
  readonly native: boolean;
  /** What the reference means: trusted, from the list, a record, an archive or the registry. */
  readonly digest: Digest;
  /** What this node's runtime needs: see `RuntimeSnapshot.identifiesBy`. */
  readonly identifiesBy: 'config' | 'manifest';
  /** Where the runtime keeps its images, when it says so: its disk must have room, too. */
  readonly runtimeDirectory?: string;
  /** Whether the runtime has that image already: layers of it take no room again. */
  readonly isLoaded: (image: string) => boolean;
  /** Unique among the nodes that may claim the same blob: the record's key and this node's name. */
  readonly claimKey: string;
}

/**
 * How far one attempt got. `waiting`: others are bringing what is missing, ask them again soon.
 * `no_source`: nobody that this node may ask has what is missing; somebody has to take the lock.
 */
export type TransferOutcome =
  | {
      readonly kind: 'complete';
      /** What the runtime is to pull: the requested digest, its manifest for a foreign platform, or the derived one. */
      readonly root: Digest;
    }
  | { readonly kind: 'waiting' }
  | { readonly kind: 'no_source' };

/** An image whose manifests are in the store, and whose other blobs are on their way there. */
export interface ArrivingImage {
  /** What the runtime is to pull, unless the outcome says otherwise in the end. */
  readonly root: Digest;
  readonly config: Digest;
  readonly missing: readonly Digest[];
}

/** Whoever watches over a transfer. */
export interface TransferListener {
  /** So many bytes arrived. */
  readonly onBytes: (count: number) => void;
  /** Nothing arrived, but something is being done: a peer prepares what it will send. */
  readonly onAlive: () => void;
  readonly onFetching?: (image: ArrivingImage) => void;
  /** A blob has come to be in the store. */
  readonly onStored?: (digest: Digest) => void;
}

/** Bytes of the image in the store, and of the whole image once its manifests are known. */
export interface TransferProgress {
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly source: Source;
}
