import { type CanActivate, type ExecutionContext, HttpStatus, Injectable, Logger } from '@nestjs/common';
import { Reflector } from '@nestjs/core';

import { ACCESS_METADATA, type AccessKind } from '../../common/access.decorator.js';
import { AccessDenied } from './access-denied.js';
import { ApiTokenGuard } from './api-token.guard.js';
import { PeerGuard } from './peer.guard.js';
import { PeerOrTokenGuard } from './peer-or-token.guard.js';
import { ReadGuard } from './read.guard.js';

/** The one door: applies what `@Access` says of each route, and refuses routes that say nothing. */
@Injectable()
export class AccessGuard implements CanActivate {
  private readonly logger = new Logger(AccessGuard.name);
  private readonly guards: Readonly<Record<AccessKind, CanActivate | undefined>>;

  constructor(
    private readonly reflector: Reflector,
    peer: PeerGuard,
    token: ApiTokenGuard,
    peerOrToken: PeerOrTokenGuard,
    read: ReadGuard,
  ) {
    this.guards = { public: undefined, read, token, peer, 'peer-or-token': peerOrToken };
  }

  canActivate(context: ExecutionContext): ReturnType<CanActivate['canActivate']> {
    const route = [context.getHandler(), context.getClass()];
    const kind = this.reflector.getAllAndOverride<AccessKind | undefined>(ACCESS_METADATA, route);
    if (kind === undefined) {
      this.logger.error(
        { controller: context.getClass().name, handler: context.getHandler().name },
        'A route does not declare who may call it',
      );
      throw new AccessDenied(HttpStatus.FORBIDDEN, 'ACCESS_UNDECLARED', 'Nobody may call this.');
    }
    return this.guards[kind]?.canActivate(context) ?? true;
  }
}
