import { type ArgumentsHost, Catch, type ExceptionFilter, Logger } from '@nestjs/common';
import type { Request, Response } from 'express';

import { PreheatFailure } from '../domain/errors.js';
import { RequestDurations } from '../metrics/request-durations.js';
import { answerTo, type ErrorAnswer } from './error-answer.js';

/**
 * RFC 9110 wants a challenge with a 401, and registry clients (skopeo, containers/image) send a token they have only to
 * who asked for one. The realm is no URL: there is nowhere to take credentials to.
 */
const CHALLENGE = 'Bearer realm="image-preheat"';

/** The one place where errors become HTTP: `{statusCode, code, message}`, with no stack and no upstream's body. */
@Catch()
export class ErrorFilter implements ExceptionFilter {
  private readonly logger = new Logger(ErrorFilter.name);

  constructor(private readonly durations: RequestDurations) {}

  catch(error: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const response = http.getResponse<Response>();
    this.durations.watch(http.getRequest<Request>(), response);
    // The client has gone: nobody to answer, and what failed most likely failed for that.
    if (response.destroyed) return;
    const answer = answerTo(error);
    this.log(error, answer);
    if (response.headersSent) {
      // A clean end would make half an answer look whole.
      response.destroy();
      return;
    }
    if (answer.retryAfterMs !== undefined) {
      response.setHeader('Retry-After', Math.max(1, Math.ceil(answer.retryAfterMs / 1000)));
    }
    if (answer.body.statusCode === 401) response.setHeader('WWW-Authenticate', CHALLENGE);
    // Whatever the handler meant to send, this is something else.
    for (const name of ['Content-Length', 'Content-Encoding', 'Content-Disposition', 'ETag'])
      response.removeHeader(name);
    response.status(answer.body.statusCode).type('application/json').send(answer.body);
  }

  /** What somebody threw as an HTTP answer, they meant to say, and the line about the request has its status. */
  private log(error: unknown, { body, unexpected }: ErrorAnswer): void {
    if (unexpected) this.logger.error({ err: error }, 'request failed for a reason nobody foresaw');
    else if (error instanceof PreheatFailure && body.statusCode >= 500) {
      this.logger.warn({ code: body.code, reason: body.message }, 'request failed');
    }
  }
}
