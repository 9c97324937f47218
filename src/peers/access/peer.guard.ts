import { type CanActivate, type ExecutionContext, Inject, Injectable } from '@nestjs/common';
import type { Request, Response } from 'express';

import { AppConfig } from '../../config/app-config.js';
import { AgentIdentity } from '../agent-identity.js';
import { IDENTITY_HEADERS, identityHeaders, INSTANCE, NODE_NAME } from '../peer-identity.js';
import { isPeerAuthorization } from '../session/authorization-header.js';
import { IncomingSessions } from '../session/incoming-sessions.js';
import { AccessDenied } from './access-denied.js';
import { setCaller } from './caller.js';

/** Lets in agents of this deployment, or everybody with `PEER_AUTH=none`, and says who answers. */
@Injectable()
export class PeerGuard implements CanActivate {
  constructor(
    @Inject(AppConfig) private readonly config: AppConfig,
    private readonly identity: AgentIdentity,
    private readonly sessions: IncomingSessions,
  ) {}

  canActivate(context: ExecutionContext): boolean {
    const http = context.switchToHttp();
    http.getResponse<Response>().set(identityHeaders(this.identity));
    const request = http.getRequest<Request>();
    if (this.config.access.peerAuth === 'none') this.takeAtItsWord(request);
    else this.check(request);
    return true;
  }

  private check(request: Request): void {
    const { authorization, range } = request.headers;
    if (!isPeerAuthorization(authorization)) {
      throw AccessDenied.unauthorized(
        'PEER_AUTH_REQUIRED',
        'Only agents of this deployment may ask for this.',
      );
    }
    const { method, originalUrl: path } = request;
    setCaller(request, this.sessions.authenticate(authorization, { method, path, range }));
  }

  private takeAtItsWord(request: Request): void {
    const node = request.get(IDENTITY_HEADERS.node);
    const instance = request.get(IDENTITY_HEADERS.instance);
    if (node && instance && NODE_NAME.test(node) && INSTANCE.test(instance))
      setCaller(request, { node, instance });
  }
}
