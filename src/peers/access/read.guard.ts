import { type CanActivate, type ExecutionContext, Inject, Injectable } from '@nestjs/common';

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
    return !this.config.access.readAuth || this.tokens.canActivate(context);
  }
}
