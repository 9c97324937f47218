import { type CanActivate, type ExecutionContext, Inject, Injectable } from '@nestjs/common';
import type { Request } from 'express';

import { AppConfig } from '../../config/app-config.js';
import { isPeerAuthorization } from '../session/authorization-header.js';
import { ApiTokenGuard } from './api-token.guard.js';
import { PeerGuard } from './peer.guard.js';

/** Lets in agents and holders of the API token; everybody with `PEER_AUTH=none`. */
@Injectable()
export class PeerOrTokenGuard implements CanActivate {
  constructor(
    @Inject(AppConfig) private readonly config: AppConfig,
    private readonly peers: PeerGuard,
    private readonly tokens: ApiTokenGuard,
  ) {}

  canActivate(context: ExecutionContext): boolean {
    const { authorization } = context.switchToHttp().getRequest<Request>().headers;
    const asPeer = this.config.access.peerAuth === 'none' || isPeerAuthorization(authorization);
    return (asPeer ? this.peers : this.tokens).canActivate(context);
  }
}
