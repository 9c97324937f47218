import { type CanActivate, type ExecutionContext, Inject, Injectable } from '@nestjs/common';
import type { Request } from 'express';

import { AppConfig } from '../../config/app-config.js';
import { ApiTokenGuard } from './api-token.guard.js';

/** Reading state: open, unless `READ_AUTH` asks for the API token. */
@Injectable()
export class ReadGuard implements CanActivate {
  constructor(
    @Inject(AppConfig) private readonly config: AppConfig,
    private readonly tokens: ApiTokenGuard,
  ) {}

  canActivate(context: ExecutionContext): boolean {
    this.check(context.switchToHttp().getRequest<Request>());
    return true;
  }

  /** For what is no route of Nest's, such as the API documentation. @throws AccessDenied 401 */
  check(request: Pick<Request, 'headers'>): void {
    if (this.config.access.readAuth) this.tokens.check(request);
  }
}
