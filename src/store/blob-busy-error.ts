import type { Digest } from '../domain/digest.js';
import { AppError } from '../domain/errors.js';

/** Two callers want to write one blob at once; whoever shares out the work (`transfer`) must not let that happen. */
export class BlobBusyError extends AppError {
  readonly code = 'BLOB_BUSY';

  constructor(digest: Digest) {
    super(`${digest} is already being written in this process`);
  }
}
