import { HttpException, HttpStatus } from '@nestjs/common';

/** A refusal at the door; its body is `{statusCode, code, message}` whatever filter is in place. */
export class AccessDenied extends HttpException {
  constructor(
    status: HttpStatus,
    readonly code: string,
    message: string,
  ) {
    super({ statusCode: status, code, message }, status);
  }

  /** 401: who are you? The challenge that goes with it names no place to take a password to. */
  static unauthorized(code: string, message: string): AccessDenied {
    return new AccessDenied(HttpStatus.UNAUTHORIZED, code, message);
  }
}
