import { createHash, timingSafeEqual } from 'node:crypto';

import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import type { Request } from 'express';

import { AccessDenied } from './access-denied.js';
import { ClusterKey } from './cluster-key.js';

const BEARER = /^Bearer +(\S{1,4096})$/i;

/** Lets in whoever has the API token: `Authorization: Bearer <token>`. */
@Injectable()
export class ApiTokenGuard implements CanActivate {
  constructor(private readonly key: ClusterKey) {}

  canActivate(context: ExecutionContext): boolean {
    this.check(context.switchToHttp().getRequest<Request>());
    return true;
  }

  /** For what is no route of Nest's. @throws AccessDenied 401 */
  check({ headers }: Pick<Request, 'headers'>): void {
    const given = BEARER.exec(headers.authorization ?? '')?.[1];
    const expected = this.key.apiToken;
    if (expected === undefined)
      throw AccessDenied.unauthorized(
        'API_TOKEN_REQUIRED',
        'This agent has no API token yet, so nobody may.',
      );
    if (given === undefined)
      throw AccessDenied.unauthorized(
        'API_TOKEN_REQUIRED',
        'An API token is needed: "Authorization: Bearer …".',
      );
    if (!sameSecret(given, expected))
      throw AccessDenied.unauthorized('API_TOKEN_INVALID', 'This is not the API token of this deployment.');
  }
}

/** In constant time, whatever the lengths: digests are compared. */
function sameSecret(left: string, right: string): boolean {
  const [a, b] = [left, right].map((text) => createHash('sha256').update(text).digest());
  return a !== undefined && b !== undefined && timingSafeEqual(a, b);
}
