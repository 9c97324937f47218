/** What the Secret of a deployment holds. */
export interface KeySecret {
  /** 256 random bits. */
  readonly peerKey: Buffer;
  readonly apiToken: string;
}

/**
 * The Secret `K8S_KEY_SECRET`. Both methods throw when the API server cannot be asked, and reject with the signal's
 * reason when it aborts.
 */
export interface KeySecretStore {
  /** Undefined when there is no such Secret; throws when there is one without both values. */
  read(signal: AbortSignal): Promise<KeySecret | undefined>;
  /** Makes the Secret, unless another agent was first. */
  create(value: KeySecret, signal: AbortSignal): Promise<'created' | 'exists'>;
}
export const KeySecretStore = Symbol('KeySecretStore');
