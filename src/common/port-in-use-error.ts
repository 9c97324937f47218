import { AppError } from '../domain/errors.js';

/** Something else listens where this agent must; mostly another agent of the same host. */
export class PortInUseError extends AppError {
  readonly code = 'PORT_IN_USE';

  /** @param setting that chose the port */
  constructor(setting: string, host: string, port: number, options?: ErrorOptions) {
    super(
      `${setting} ${port} on ${host} is taken by another process, maybe another agent of this host; give each its own`,
      options,
    );
  }
}
