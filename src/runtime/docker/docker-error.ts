import { z } from 'zod';

import { errnoOf } from '../../common/errno.js';
import { AppError, messageOf, PreheatFailure } from '../../domain/errors.js';
import type { FailureReason } from '../../domain/preheat-state.js';
import { failureFromText } from '../engine-failure.js';

/** Docker gives its reason as `message`; what stands between may use the other. */
const refusal = z.object({ message: z.string().optional(), error: z.string().optional() });

/** The engine answered with a status that is no success. */
export class DockerRefusal extends Error {
  constructor(
    readonly statusCode: number,
    body: string,
  ) {
    super(explanationIn(body));
  }
}

/** The status of the engine's refusal; undefined for anything but a refusal. */
export function statusOf(error: unknown): number | undefined {
  return error instanceof DockerRefusal ? error.statusCode : undefined;
}

/** The reason in a refusal's body, or else all of the body. */
function explanationIn(body: string): string {
  try {
    const { message, error } = refusal.parse(JSON.parse(body));
    return message ?? error ?? body;
  } catch {
    return body;
  }
}

/**
 * What an error of a request means: no connection is `runtime_unreachable`, an answer is judged by its text.
 * @param host where the request went, for the message
 * @param name what to keep out of the message: the loopback name holds the nonce of a pull
 */
export function dockerFailure(error: unknown, host: string, name?: string): AppError {
  if (error instanceof AppError) return error;
  if (error instanceof DockerRefusal) return engineFailure(error.message, name);
  const code = errnoOf(error) ?? messageOf(error);
  return new PreheatFailure('runtime_unreachable', `Docker at ${host} cannot be asked: ${code}`, {
    cause: error,
  });
}

/** What the engine said went wrong. It has no codes, so its words must do; they differ between its two image stores. */
export function engineFailure(explanation: string, name?: string): PreheatFailure {
  return failureFromText('Docker', explanation, name);
}

/**
 * What it means that the engine could not read a manifest from its registry. Its words may hold what the registry said,
 * which is not for our messages; all else is left as it is.
 */
export function restoreFailure(error: unknown, name: string): unknown {
  const status = statusOf(error);
  if (status === undefined && !(error instanceof PreheatFailure && error.reason === 'runtime_error'))
    return error;
  return new PreheatFailure(
    registryReason(status, messageOf(error)),
    `Docker could not read the manifest of ${name} from its registry`,
    { cause: messageOf(error) },
  );
}

/** A refused password may come as a 404, too: Docker does not tell "no such repository" and "not for you" apart. */
function registryReason(status: number | undefined, text: string): FailureReason {
  if (/toomanyrequests|too many requests/i.test(text)) return 'rate_limited';
  if (status === 401 || status === 403 || /unauthorized|authentication required/i.test(text))
    return 'unauthorized';
  return status === 404 ? 'not_found' : 'registry_error';
}
