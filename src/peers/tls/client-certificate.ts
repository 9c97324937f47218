import { TLSSocket } from 'node:tls';

import { HttpStatus } from '@nestjs/common';
import type { NextFunction, Request, Response } from 'express';

import { AccessDenied } from '../access/access-denied.js';

/** What kubelet asks for, which has no certificate to show. As they stand: a spelling that is not among them is refused. */
const OPEN_PATHS: readonly string[] = ['/health', '/health/ready'];

/**
 * With TLS, lets through who shows a certificate of the deployment's CA, and whoever asks for nothing but health.
 * Connections without a certificate are not cut for the sake of the latter.
 * @throws AccessDenied 403
 */
export function requireClientCertificate(request: Request, _response: Response, next: NextFunction): void {
  if (request.socket instanceof TLSSocket && !request.socket.authorized && !OPEN_PATHS.includes(request.path))
    throw new AccessDenied(
      HttpStatus.FORBIDDEN,
      'CLIENT_CERTIFICATE_REQUIRED',
      'A client certificate of the CA of this deployment is needed.',
    );
  next();
}
