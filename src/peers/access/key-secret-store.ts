/** What the Secret of a deployment holds. */
export interface KeySecret {
  /** 256 random bits, or more. */
  readonly peerKey: Buffer;
  readonly apiToken: string;
}

/**
 * The one Secret of a deployment. Both methods throw when the backend cannot be asked, and reject with the signal's
 * reason when it aborts.
 */
export interface KeySecretStore {
  /** Undefined when there is no such Secret. Throws InvalidInputError `INVALID_SECRET` when it lacks a value. */
  read(signal: AbortSignal): Promise<KeySecret | undefined>;
  /** Makes the Secret, unless another agent was first. */
  create(value: KeySecret, signal: AbortSignal): Promise<'created' | 'exists'>;
}
