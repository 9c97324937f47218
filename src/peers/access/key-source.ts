/** The secrets of a deployment, as far as they are set. */
export interface KeyMaterial {
  readonly peerKey?: Buffer;
  readonly apiToken?: string;
}

/** Where the secrets come from: a Kubernetes Secret, or files. */
export interface KeySource {
  /** How often to look for a change, milliseconds. */
  readonly pollIntervalMs: number;
  /** Throws when they cannot be read now; what was loaded before stays in use. */
  load(signal: AbortSignal): Promise<KeyMaterial>;
  /** What an earlier process has kept of them, for as long as they cannot be loaded; never throws. */
  recall?(): Promise<KeyMaterial>;
}
export const KeySource = Symbol('KeySource');
