import type { Digest } from '../domain/digest.js';

/**
 * What a node would export under an image's name, by the digest that means the same on every node: its config's where
 * the runtime knows images by that (the layers of its exports are uncompressed), else its manifest's or index's (they are
 * the original ones). An agent of an earlier version says neither.
 */
export interface RuntimeHolding {
  readonly config?: Digest;
  readonly manifest?: Digest;
}

/** What a peer may know of this node's container runtime: only images that the list or a request names. */
export interface RuntimeView {
  /**
   * Those of `images` (normalised references, at most 256) that the runtime has and peers may have.
   * Throws `PreheatFailure` `runtime_unreachable`.
   */
  present(images: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, RuntimeHolding>>;
}
export const RuntimeView = Symbol('RuntimeView');
