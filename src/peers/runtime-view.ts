/** What a peer may know of this node's container runtime: only images that the list or a request names. */
export interface RuntimeView {
  /**
   * Those of `images` (normalised references, at most 256) that the runtime has and peers may have.
   * Throws `PreheatFailure` `runtime_unreachable`.
   */
  present(images: readonly string[], signal: AbortSignal): Promise<readonly string[]>;
}
export const RuntimeView = Symbol('RuntimeView');
