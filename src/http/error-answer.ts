import { HttpException, HttpStatus } from '@nestjs/common';

import { AppError, InvalidInputError, PreheatFailure } from '../domain/errors.js';
import { FAILURE_STATUS } from './failure-status.js';

/** The body of every error. */
export interface ErrorBody {
  readonly statusCode: number;
  /** Stable, upper snake case. */
  readonly code: string;
  readonly message: string;
}

export interface ErrorAnswer {
  /** May have more fields than these, where the thrower said so. */
  readonly body: ErrorBody;
  readonly retryAfterMs?: number;
  /** Nobody foresaw it: the log needs the whole error, the caller nothing of it. */
  readonly unexpected: boolean;
}

/** What frameworks say in these cases may repeat the request; this does not. */
const MESSAGES: Readonly<Partial<Record<number, string>>> = {
  [HttpStatus.BAD_REQUEST]: 'The request cannot be read.',
  [HttpStatus.UNAUTHORIZED]: 'Who asks must be known.',
  [HttpStatus.FORBIDDEN]: 'Not allowed.',
  [HttpStatus.NOT_FOUND]: 'Nothing answers this method at this path.',
  [HttpStatus.PAYLOAD_TOO_LARGE]: 'The body is too large.',
  [HttpStatus.UNSUPPORTED_MEDIA_TYPE]: 'The body is not in a form that is accepted.',
  [HttpStatus.TOO_MANY_REQUESTS]: 'Too many requests; see Retry-After.',
};

/** Turns anything thrown into the one form that callers see. */
export function answerTo(error: unknown): ErrorAnswer {
  if (error instanceof InvalidInputError) {
    return expected({ statusCode: HttpStatus.BAD_REQUEST, code: error.code, message: error.message });
  }
  if (error instanceof PreheatFailure) {
    const body = { statusCode: FAILURE_STATUS[error.reason], code: error.code, message: error.message };
    return {
      ...expected(body),
      ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
    };
  }
  if (error instanceof HttpException) return expected(bodyOf(error));
  const statusCode = clientErrorStatus(error);
  if (statusCode !== undefined) return expected(generic(statusCode));
  return {
    body: {
      statusCode: HttpStatus.INTERNAL_SERVER_ERROR,
      code: error instanceof AppError ? error.code : 'INTERNAL_ERROR',
      message: 'Something went wrong on this node; its log says what.',
    },
    unexpected: true,
  };
}

function expected(body: ErrorBody): ErrorAnswer {
  return { body, unexpected: false };
}

/** An exception with a code in its body is ours and is sent as it is; any other is a framework's. */
function bodyOf(exception: HttpException): ErrorBody {
  const statusCode = exception.getStatus();
  const response = exception.getResponse();
  if (typeof response === 'object' && 'code' in response && typeof response.code === 'string') {
    const { code, ...fields } = response;
    return { statusCode, code, message: exception.message, ...fields };
  }
  return generic(statusCode);
}

function generic(statusCode: number): ErrorBody {
  return {
    statusCode,
    code: (HttpStatus as Readonly<Record<number, string>>)[statusCode] ?? 'ERROR',
    message: MESSAGES[statusCode] ?? 'The request was refused.',
  };
}

/** Express, its router and body-parser mark errors that are the caller's with a 4xx `status`. */
function clientErrorStatus(error: unknown): number | undefined {
  if (error === null || typeof error !== 'object' || !('status' in error)) return undefined;
  const { status } = error;
  return typeof status === 'number' && Number.isInteger(status) && status >= 400 && status < 500
    ? status
    : undefined;
}
