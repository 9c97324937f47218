import type { Readable } from 'node:stream';

import type { Digest } from '../domain/digest.js';

/** One image as the runtime knows it under one name. */
export interface RuntimeImage {
  /** The runtime's own id: config digest (classic Docker) or manifest digest, as `identifiesBy` says. */
  readonly id: Digest;
  /** Digest of the manifest or index that the runtime has for this name, where it knows it. */
  readonly digest?: Digest;
  /** Bytes that an export takes on the runtime's disk while it lasts; absent where nothing is staged. */
  readonly stagedBytes?: number;
}

export interface RuntimeSnapshot {
  /**
   * What makes two images the same to this runtime: `config` accepts any manifest around the same config
   * (classic Docker), `manifest` needs the very manifest that the reference names.
   */
  readonly identifiesBy: 'config' | 'manifest';
  /** Canonical names, `registry/repository:tag` and `registry/repository@digest`, to what they name. */
  readonly images: ReadonlyMap<string, RuntimeImage>;
  /** Where the runtime keeps its images, when it says so: the file system that the disk guard watches. */
  readonly rootDirectory?: string;
}

/**
 * The container runtime of this node. Every method throws `PreheatFailure` with `runtime_unreachable` when nothing
 * answers at its socket and `runtime_error` when it refuses; an aborted signal rejects with the signal's reason.
 */
export interface ImageRuntime {
  /** What is there, in as few calls as the runtime allows. */
  list(signal: AbortSignal): Promise<RuntimeSnapshot>;

  /**
   * Pulls `name` (`127.0.0.1:<port>/preheat/<nonce>@sha256:…`, the agent's own mirror), and resolves when the image is
   * unpacked and usable under that name. Throws `platform_not_supported` when the runtime cannot unpack it.
   * @param onProgress called at every sign of life
   */
  pull(name: string, signal: AbortSignal, onProgress?: () => void): Promise<void>;

  /** Gives the image known as `source` the canonical name `target` as well; moves the tag when it exists. */
  tag(source: string, target: string, signal: AbortSignal): Promise<void>;

  /** Takes one name away; an absent one is fine. Never called on an image's last name. */
  untag(name: string, signal: AbortSignal): Promise<void>;

  /**
   * The image as a tar that `docker load` takes, streamed. Throws `not_found` when the name is not there.
   * The stream is destroyed, never ended, when the runtime fails midway.
   */
  export(name: string, signal: AbortSignal): Promise<Readable>;
}
export const ImageRuntime = Symbol('ImageRuntime');
