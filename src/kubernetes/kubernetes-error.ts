import { AppError } from '../domain/errors.js';

/** The API server refused, or did not answer. The message carries the status and reason, never a secret or a body. */
export class KubernetesError extends AppError {
  readonly code = 'KUBERNETES_ERROR';

  /**
   * @param status the HTTP status; undefined when there was no answer, so that a write may have happened
   * @param reason the API's own word for it, such as `Forbidden`
   */
  constructor(
    readonly status: number | undefined,
    readonly reason: string | undefined,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  /** Worth trying again without anyone changing anything. */
  get retryable(): boolean {
    return this.status === undefined || this.status === 429 || this.status >= 500;
  }
}
