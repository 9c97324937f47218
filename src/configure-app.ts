import { ExecutionContextHost } from '@nestjs/core/helpers/execution-context-host.js';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import type { NextFunction, Request, Response } from 'express';

import { hardenServer } from './common/harden-server.js';
import { securityHeaders } from './http/security-headers.js';
import { createValidationPipe } from './http/validation.js';
import { ReadGuard } from './peers/access/read.guard.js';
import { requireClientCertificate } from './peers/tls/client-certificate.js';

/** The longest `POST /images/preheat` and availability question are well below it. */
const MAX_BODY = '1mb';

/** Everything about the HTTP side that is not a module's. The tests run the application with exactly this. */
export function configureApp(app: NestExpressApplication): void {
  app.disable('x-powered-by');
  app.set('query parser', 'simple');
  app.use(securityHeaders);
  app.use(requireClientCertificate);
  app.useBodyParser('json', { limit: MAX_BODY });
  app.useGlobalPipes(createValidationPipe());
  hardenServer(app.getHttpServer());
  guardDocs(app);
  SwaggerModule.setup('docs', app, () => SwaggerModule.createDocument(app, describeApi()), {
    jsonDocumentUrl: 'docs-json',
    raw: ['json'],
  });
}

/** Swagger's pages belong to no controller, so the guard of those does not see them. */
function guardDocs(app: NestExpressApplication): void {
  const guard = app.get(ReadGuard, { strict: false });
  app.use(['/docs', '/docs-json'], (request: Request, response: Response, next: NextFunction) => {
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
