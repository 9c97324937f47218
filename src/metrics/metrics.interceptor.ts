import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import type { Request, Response } from 'express';
import type { Observable } from 'rxjs';

import { RequestDurations } from './request-durations.js';

/** Times every request that reaches a handler; the error filter times those that a guard or the router refused. */
@Injectable()
export class MetricsInterceptor implements NestInterceptor {
  constructor(private readonly durations: RequestDurations) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const http = context.switchToHttp();
    this.durations.watch(http.getRequest<Request>(), http.getResponse<Response>());
    return next.handle();
  }
}
