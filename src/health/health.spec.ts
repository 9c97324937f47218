import { Global, type INestApplication, Injectable, Module } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import request from 'supertest';
import type { App } from 'supertest/types.js';

import { Clock } from '../common/clock.js';
import { AppConfig } from '../config/app-config.js';
import { PreheatFailure } from '../domain/errors.js';
import { MetricsModule } from '../metrics/metrics.module.js';
import { HealthModule } from './health.module.js';
import type { ReadinessChecks } from './readiness-checks.js';

let nowMs = 0;
let failure: Error | undefined;
let hangs = false;
let asked = 0;

@Injectable()
class FakeChecks implements ReadinessChecks {
  imageList(): Promise<void> {
    return Promise.resolve();
  }
  runtime(): Promise<void> {
    asked += 1;
    if (hangs) return new Promise(() => undefined);
    return failure ? Promise.reject(failure) : Promise.resolve();
  }
  store(): Promise<void> {
    return Promise.resolve();
  }
}

const providers = [
  { provide: AppConfig, useValue: { nodeName: 'n' } },
  { provide: Clock, useValue: { monotonicMs: () => nowMs } },
];
@Global()
@Module({ providers, exports: providers })
class FakeConfigModule {}

describe('GET /health', () => {
  let app: INestApplication<App>;
  const get = (path: string): request.Test => request(app.getHttpServer()).get(path);

  beforeEach(async () => {
    [nowMs, failure, hangs, asked] = [0, undefined, false, 0];
    const module = await Test.createTestingModule({
      imports: [FakeConfigModule, MetricsModule, HealthModule.register(FakeChecks)],
    }).compile();
    app = module.createNestApplication();
    app.useLogger(false);
    await app.init();
  });
  afterEach(() => app.close());

  it('is healthy while the process works, whatever else is down', async () => {
    failure = new Error('down');
    await get('/health').expect(200, { status: 'healthy' });
  });

  it('is ready with the state of each dependency', async () => {
    const { body } = (await get('/health/ready').expect(200)) as { body: unknown };
    expect(body).toMatchObject({
      status: 'ok',
      details: { imageList: { status: 'up' }, runtime: { status: 'up' }, store: { status: 'up' } },
    });
  });

  it('says what is missing with 503, in the form of every error', async () => {
    failure = new PreheatFailure('runtime_unreachable', 'nothing answers at /var/run/docker.sock');
    const { body } = (await get('/health/ready').expect(503)) as { body: unknown };
    expect(body).toMatchObject({
      statusCode: 503,
      code: 'NOT_READY',
      message: 'Not there: runtime.',
      details: {
        imageList: { status: 'up' },
        runtime: { status: 'down', message: 'nothing answers at /var/run/docker.sock' },
      },
    });
  });

  it('does not repeat an error that is not made to be shown', async () => {
    failure = new Error('s3cret');
    const { text } = await get('/health/ready').expect(503);
    expect(text).not.toContain('s3cret');
  });

  it('asks once for all who ask within a second', async () => {
    await Promise.all([get('/health/ready'), get('/health/ready'), get('/health/ready')]);
    await get('/health/ready');
    expect(asked).toBe(1);
    nowMs += 1_000;
    failure = new Error('down');
    await get('/health/ready').expect(503);
    await get('/health/ready').expect(503);
    expect(asked).toBe(2);
  });

  it('answers before the probe gives up, even when a check hangs', async () => {
    hangs = true;
    const { text } = await get('/health/ready').expect(503);
    expect(text).toContain('no answer within 3 s');
  });
});
