/**
 * What this agent needs to do its work. Each method resolves when that is there and rejects when it is not; the
 * message of an `AppError` is shown to whoever asks, that of any other error is not. Called at most once per second.
 */
export interface ReadinessChecks {
  /** The image list was read at least once. */
  imageList(signal: AbortSignal): Promise<void>;
  /** The container runtime answers. */
  runtime(signal: AbortSignal): Promise<void>;
  /** The blob store can be written to. */
  store(signal: AbortSignal): Promise<void>;
}
export const ReadinessChecks = Symbol('ReadinessChecks');
