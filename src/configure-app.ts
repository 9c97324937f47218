import type { NestExpressApplication } from '@nestjs/platform-express';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';

import { hardenServer } from './http/harden-server.js';
import { securityHeaders } from './http/security-headers.js';
import { createValidationPipe } from './http/validation.js';

/** The longest `POST /images/preheat` and availability question are well below it. */
const MAX_BODY = '1mb';

/** Everything about the HTTP side that is not a module's. The tests run the application with exactly this. */
export function configureApp(app: NestExpressApplication): void {
  app.disable('x-powered-by');
  app.set('query parser', 'simple');
  app.use(securityHeaders);
  app.useBodyParser('json', { limit: MAX_BODY });
  app.useGlobalPipes(createValidationPipe());
  hardenServer(app.getHttpServer());
  SwaggerModule.setup('docs', app, () => SwaggerModule.createDocument(app, describeApi()), {
    jsonDocumentUrl: 'docs-json',
    raw: ['json'],
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
