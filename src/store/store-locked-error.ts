import { AppError } from '../domain/errors.js';

/** Another agent works on this `STORE_DIR`. */
export class StoreLockedError extends AppError {
  readonly code = 'STORE_LOCKED';

  constructor(directory: string, pid: number) {
    super(`STORE_DIR ${directory} belongs to another agent, process ${pid}; give each agent its own`);
  }
}
