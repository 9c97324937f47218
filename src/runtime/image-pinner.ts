/** Keeps images from the garbage collection of kubelet (`PIN_IMAGES`). Throws as `ImageRuntime` does. */
export interface ImagePinner {
  /** Pins what the runtime has of these names; again after somebody's pull took the pin away. */
  pin(names: Iterable<string>, signal: AbortSignal): Promise<void>;

  /** Takes the pins away that `pin` once set, by this agent or an earlier one, on any other name. No pins of others. */
  unpinAllBut(names: ReadonlySet<string>, signal: AbortSignal): Promise<void>;
}
export const ImagePinner = Symbol('ImagePinner');
