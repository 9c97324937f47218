import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { Readable, Writable } from 'node:stream';

import {
  Body,
  Controller,
  Get,
  Global,
  HttpCode,
  Module,
  Param,
  Post,
  Query,
  ServiceUnavailableException,
  StreamableFile,
} from '@nestjs/common';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { Test } from '@nestjs/testing';
import { IsString } from 'class-validator';
import { Logger, LoggerModule } from 'nestjs-pino';
import type { Options } from 'pino-http';
import request from 'supertest';
import type { App } from 'supertest/types.js';

import { Clock } from './common/clock.js';
import { JsonBody } from './common/json-body.js';
import { AppConfig } from './config/app-config.js';
import { configureApp } from './configure-app.js';
import { InvalidInputError, PreheatFailure } from './domain/errors.js';
import { HttpModule } from './http/http.module.js';
import { loggingParams } from './http/logging.js';
import { MetricsModule } from './metrics/metrics.module.js';
import { ApiTokenGuard } from './peers/access/api-token.guard.js';
import { ClusterKey } from './peers/access/cluster-key.js';
import { ReadGuard } from './peers/access/read.guard.js';

const LIMIT = 5;
let nowMs = 0;
const config = {
  provide: AppConfig,
  useValue: {
    nodeName: 'node-1',
    logLevel: 'info',
    pullingTimeoutMs: 60_000,
    limits: { apiRequestsPerSecond: LIMIT },
    access: { readAuth: false },
  },
};
const clock = { provide: Clock, useValue: { monotonicMs: () => nowMs, wallMs: () => nowMs } };

@Global()
@Module({ providers: [config, clock], exports: [config, clock] })
class FakeConfigModule {}

class ThingDto {
  @IsString()
  name!: string;
}

@Controller()
class ThingsController {
  @Get('things/:name')
  read(@Param('name') name: string, @Query('image') image?: string): unknown {
    return { name, image };
  }

  @Post('things')
  @JsonBody(1024)
  @HttpCode(202)
  create(@Body() thing: ThingDto): unknown {
    return thing;
  }

  @Get('fail/:how')
  fail(@Param('how') how: string): StreamableFile {
    switch (how) {
      case 'input':
        throw new InvalidInputError('INVALID_REFERENCE', '"X" is not an image reference');
      case 'busy':
        throw new PreheatFailure('runtime_unreachable', 'nothing answers', { retryAfterMs: 1_500 });
      case 'midway':
        return new StreamableFile(
          Readable.from(
            (async function* () {
              yield Buffer.alloc(100_000);
              await Promise.resolve();
              throw new PreheatFailure('runtime_error', 'the runtime went away');
            })(),
          ),
        );
      default:
        throw new Error('the password is s3cret');
    }
  }

  @Get('v2/down')
  down(): never {
    throw new ServiceUnavailableException({ code: 'DOWN', message: 'down' });
  }

  @Get('v2/')
  version(): unknown {
    return {};
  }

  @Post('peer/v1/session')
  @HttpCode(200)
  hello(): unknown {
    return {};
  }

  @Post('peer/v1/availability')
  @HttpCode(200)
  availability(): unknown {
    return {};
  }
}

describe('the application over HTTP', () => {
  let app: NestExpressApplication;
  let server: App;
  let log: Record<string, unknown>[];

  beforeEach(async () => {
    nowMs = 0;
    config.useValue.access.readAuth = false;
    log = [];
    const sink = new Writable({
      write: (line: Buffer, _encoding, done) => {
        log.push(JSON.parse(line.toString()) as Record<string, unknown>);
        done();
      },
    });
    const logging = loggingParams(config.useValue);
    const module = await Test.createTestingModule({
      imports: [
        FakeConfigModule,
        LoggerModule.forRoot({ ...logging, pinoHttp: [logging.pinoHttp as Options, sink] }),
        HttpModule,
        MetricsModule,
      ],
      controllers: [ThingsController],
      providers: [ReadGuard, ApiTokenGuard, { provide: ClusterKey, useValue: { apiToken: 't0ken' } }],
    }).compile();
    app = module.createNestApplication<NestExpressApplication>({ bodyParser: false });
    app.useLogger(app.get(Logger));
    configureApp(app);
    await app.listen(0, '127.0.0.1');
    server = app.getHttpServer();
    log.length = 0;
  });
  afterEach(() => app.close());

  it.each([
    ['GET', '/nothing', 404, 'NOT_FOUND'],
    ['DELETE', '/things/a', 404, 'NOT_FOUND'],
    ['GET', '/things/%E0%A4%A', 400, 'BAD_REQUEST'],
    ['GET', '/fail/input', 400, 'INVALID_REFERENCE'],
    ['GET', '/fail/busy', 503, 'RUNTIME_UNREACHABLE'],
    ['GET', '/fail/bug', 500, 'INTERNAL_ERROR'],
  ])('answers %s %s with %d %s as JSON', async (method, path, status, code) => {
    const response = await request(server)[method === 'DELETE' ? 'delete' : 'get'](path);
    expect(response.status).toBe(status);
    expect(response.headers['content-type']).toMatch(/^application\/json/);
    expect(response.body).toEqual({ statusCode: status, code, message: expect.any(String) as string });
    expect(response.text).not.toMatch(/s3cret|node_modules|\.ts:/);
  });

  it('says when to come back', async () => {
    await request(server).get('/fail/busy').expect('Retry-After', '2');
  });

  it('reads a query that is not well encoded as it stands', async () => {
    await request(server).get('/things/a?image=%E0%A4%A&image[x]=1').expect(200);
  });

  it('logs what nobody foresaw once, with its stack', async () => {
    await request(server).get('/fail/bug');
    const errors = log.filter(({ level }) => level === 50);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatchObject({
      context: 'ErrorFilter',
      node: 'node-1',
      err: { message: 'the password is s3cret' },
    });
  });

  it('logs a failure once, and an answer that was meant as one not at all', async () => {
    await request(server).get('/v2/down').expect(503);
    expect(log).toEqual([]);
    await request(server).get('/fail/busy').expect(503);
    expect(log.filter(({ context }) => context === 'ErrorFilter')).toMatchObject([
      { level: 40, code: 'RUNTIME_UNREACHABLE', reason: 'nothing answers' },
    ]);
  });

  it('breaks the connection when an answer fails midway', async () => {
    const { port } = app.getHttpServer().address() as AddressInfo;
    const client = httpRequest({ port, host: '127.0.0.1', path: '/fail/midway' }).end();
    const [response] = (await once(client, 'response')) as [Readable];
    await expect(text(response)).rejects.toThrow('aborted');
  });

  it.each([
    ['a broken body', '{"name":', 'application/json', 400, 'BAD_REQUEST'],
    ['a body that is no object', '"x"', 'application/json', 400, 'BAD_REQUEST'],
    ['a wrong field', '{"name":1}', 'application/json', 400, 'INVALID_REQUEST'],
    ['no body', '', 'application/json', 400, 'INVALID_REQUEST'],
    ['a body of another type', 'name=x', 'text/plain', 400, 'INVALID_REQUEST'],
    [
      'another character set',
      '{"name":"x"}',
      'application/json; charset=ebcdic',
      415,
      'UNSUPPORTED_MEDIA_TYPE',
    ],
    [
      'too large a body',
      JSON.stringify({ name: 'x'.repeat(1024 * 1024) }),
      'application/json',
      413,
      'PAYLOAD_TOO_LARGE',
    ],
  ])('refuses %s', async (_what, body, type, status, code) => {
    const response = await request(server).post('/things').set('Content-Type', type).send(body);
    expect({ status: response.status, code: (response.body as { code: string }).code }).toEqual({
      status,
      code,
    });
  });

  it('drops fields it does not know, as a newer client may send them', async () => {
    await request(server).post('/things').send({ name: 'x', later: 1 }).expect(202, { name: 'x' });
  });

  it('limits handshakes per second and client, however the path is written, and no other request of a peer', async () => {
    const hello = (path = '/peer/v1/session') => request(server).post(path).send({});
    for (let hit = 0; hit < 200; hit += 1) await hello().expect(200);
    await hello().expect(429).expect('Retry-After', '1');
    for (const path of ['/Peer/V1/Session', '/peer/v1/session/', '/peer/v1/session?x'])
      await hello(path).expect(429);
    await hello('/peer/v1/availability').expect(200);
    await request(server).get('/things/a').expect(200);
    nowMs += 1_000;
    await hello().expect(200);
  });

  it('limits people per second and client over all routes, and machines not at all', async () => {
    for (let hit = 0; hit < LIMIT; hit += 1) await request(server).get(hit % 2 ? '/things/a' : '/fail/input');
    const refused = await request(server).get('/things/a').expect(429).expect('Retry-After', '1');
    expect(refused.body).toEqual({
      statusCode: 429,
      code: 'TOO_MANY_REQUESTS',
      message: 'Too many requests; see Retry-After.',
    });
    for (let hit = 0; hit < 2 * LIMIT; hit += 1)
      await request(server)
        .get(hit % 2 ? '/metrics' : '/v2/')
        .expect(200);
    const { text: metrics } = await request(server).get('/metrics');
    expect(metrics).toContain(
      'http_request_duration_seconds_count{method="GET",route="/things/:name",status="429"} 1',
    );
    nowMs += 1_000;
    await request(server).get('/things/a').expect(200);
  });

  it('logs one line per request of people, none for machines, and no header', async () => {
    await request(server).get('/things/a?image=b').set('Authorization', 'Bearer t0ken');
    await request(server).get('/metrics').set('Authorization', 'Bearer t0ken');
    await request(server).get('/v2/').set('Authorization', 'Bearer t0ken');
    expect(log).toHaveLength(1);
    expect(log[0]).toMatchObject({
      req: { method: 'GET', url: '/things/a?image=b' },
      res: { statusCode: 200 },
    });
    expect(JSON.stringify(log)).not.toContain('t0ken');
  });

  it('describes itself at /docs and /docs-json', async () => {
    const { body } = (await request(server).get('/docs-json').expect(200)) as { body: { paths: object } };
    expect(Object.keys(body.paths)).toEqual(expect.arrayContaining(['/things/{name}', '/metrics']));
    const { text: page } = await request(server).get('/docs').expect(200);
    expect(page).toContain('swagger-ui');
  });

  it.each(['/docs', '/docs/swagger-ui-init.js', '/docs-json', '/DOCS-JSON/'])(
    'asks for the API token at %s with READ_AUTH',
    async (path) => {
      config.useValue.access.readAuth = true;
      const { body } = (await request(server).get(path).expect(401)) as { body: unknown };
      expect(body).toMatchObject({ statusCode: 401, code: 'API_TOKEN_REQUIRED' });
      await request(server).get('/docs-json').set('Authorization', 'Bearer t0ken').expect(200);
    },
  );

  it('says nothing of what it is made of, and lets nothing run in its answers', async () => {
    const { headers } = await request(server).get('/things/a');
    expect(headers).not.toHaveProperty('x-powered-by');
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'content-security-policy': expect.stringContaining("default-src 'none'") as string,
    });
  });

  it('survives what is not HTTP', async () => {
    const { port } = app.getHttpServer().address() as AddressInfo;
    const socket = connect(port, '127.0.0.1').end('GET /things/a\r\nX: y\r\n\r\n\0\xff');
    expect(await text(socket)).toMatch(/^HTTP\/1.1 400/);
    await request(server).get('/things/a').expect(200);
  });
});
