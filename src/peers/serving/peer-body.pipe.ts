import { type ValidationError, ValidationPipe } from '@nestjs/common';

import { InvalidInputError } from '../../domain/errors.js';

/** Checks what a peer sent against its DTO; fields of later versions are dropped, not refused. */
export const peerBodyPipe = new ValidationPipe({
  transform: true,
  whitelist: true,
  forbidUnknownValues: true,
  stopAtFirstError: true,
  exceptionFactory: (errors) => new InvalidInputError('INVALID_REQUEST', firstProblem(errors)),
});

function firstProblem([error]: readonly ValidationError[]): string {
  const [message] = Object.values(error?.constraints ?? {});
  return message ?? 'The body is not what this call takes.';
}
