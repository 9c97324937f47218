import type { Server } from 'node:http';

import { ExecutionContextHost } from '@nestjs/core/helpers/execution-context-host.js';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import type { NextFunction, Request, Response } from 'express';

import { Clock } from './common/clock.js';
import { hardenServer } from './common/harden-server.js';
import { cutSlowReaders } from './common/slow-readers.js';
import { AppConfig } from './config/app-config.js';
import { DocsLimit } from './http/docs-limit.js';
import { OpenRequests } from './http/open-requests.js';
import { securityHeaders } from './http/security-headers.js';
import { createValidationPipe } from './http/validation.js';
import { ReadGuard } from './peers/access/read.guard.js';
import { requireClientCertificate } from './peers/tls/client-certificate.js';

/**
 * Everything about the HTTP side that is not a module's. The tests run the application with exactly this. The application is
 * created without a body parser: see `JsonBody`.
 */
export function configureApp(app: NestExpressApplication): void {
  app.disable('x-powered-by');
  app.set('query parser', 'simple');
  app.use(new OpenRequests().limit);
  app.use(securityHeaders);
  app.use(requireClientCertificate);
  app.useGlobalPipes(createValidationPipe());
  const server: Server = app.getHttpServer();
  hardenServer(server);
  const clock = app.get<Clock>(Clock, { strict: false });
  const { pullingTimeoutMs } = app.get<AppConfig>(AppConfig, { strict: false });
  cutSlowReaders(server, pullingTimeoutMs, () => clock.monotonicMs());
  guardDocs(app);
  SwaggerModule.setup('docs', app, () => SwaggerModule.createDocument(app, describeApi()), {
    jsonDocumentUrl: 'docs-json',
    raw: ['json'],
  });
}

/** Swagger's pages belong to no controller, so the guards of those do not see them. */
function guardDocs(app: NestExpressApplication): void {
  const guard = app.get(ReadGuard, { strict: false });
  const limit = app.get(DocsLimit, { strict: false });
  app.use(['/docs', '/docs-json'], (request: Request, response: Response, next: NextFunction) => {
    limit.check(request, response);
    guard.canActivate(new ExecutionContextHost([request, response, next]));
    next();
  });
}

function describeApi(): ReturnType<DocumentBuilder['build']> {
  return new DocumentBuilder()
    .setTitle('image-preheat')
    .setDescription('Preheats a list of images on every node. Errors are JSON: {statusCode, code, message}.')
    .setVersion('1')
    .addBearerAuth({ type: 'http', description: 'The API token' })
    .build();
}
