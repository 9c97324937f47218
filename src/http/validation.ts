import { type ValidationError, ValidationPipe } from '@nestjs/common';

import { InvalidInputError } from '../domain/errors.js';

const MAX_MESSAGES = 10;

/** Checks DTOs with class-validator; unknown fields are dropped, as a newer client may send them. */
export function createValidationPipe(): ValidationPipe {
  return new ValidationPipe({
    whitelist: true,
    transform: true,
    validationError: { target: false, value: false },
    exceptionFactory: (errors) =>
      new InvalidInputError('INVALID_REQUEST', errors.flatMap(messagesOf).slice(0, MAX_MESSAGES).join('; ')),
  });
}

function messagesOf({ constraints, children }: ValidationError): string[] {
  return [...Object.values(constraints ?? {}), ...(children ?? []).flatMap(messagesOf)];
}
