import { Controller, Get, Global, type INestApplication, Module, Param } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import request from 'supertest';
import type { App } from 'supertest/types.js';

import { AppConfig } from '../config/app-config.js';
import { MetricsModule } from './metrics.module.js';

@Controller('things')
class ThingsController {
  @Get(':name')
  read(@Param('name') name: string): string {
    return name;
  }
}

const config = { provide: AppConfig, useValue: { nodeName: 'node-1' } };
@Global()
@Module({ providers: [config], exports: [config] })
class FakeConfigModule {}

describe('GET /metrics', () => {
  let app: INestApplication<App>;

  beforeEach(async () => {
    const module = await Test.createTestingModule({
      imports: [FakeConfigModule, MetricsModule],
      controllers: [ThingsController],
    }).compile();
    app = module.createNestApplication();
    await app.init();
  });
  afterEach(() => app.close());

  it('counts requests by route pattern, status and method', async () => {
    await request(app.getHttpServer()).get('/things/a').expect(200);
    await request(app.getHttpServer()).get('/things/b').expect(200);
    const { text, headers } = await request(app.getHttpServer()).get('/metrics').expect(200);
    expect(headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(text).toContain(
      'http_request_duration_seconds_count{method="GET",route="/things/:name",status="200"} 2',
    );
    expect(text).toContain('process_cpu_seconds_total');
    expect(text).toContain('image_preheat_registry_bytes_total 0');
  });

  it('gives every application its own registry', async () => {
    const { text } = await request(app.getHttpServer()).get('/metrics').expect(200);
    expect(text).not.toContain('/things/:name');
  });
});
