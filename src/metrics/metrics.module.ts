import { Global, Module } from '@nestjs/common';
import { APP_INTERCEPTOR } from '@nestjs/core';
import { getToken, PrometheusModule } from '@willsoto/nestjs-prometheus';
import { Histogram, Registry } from 'prom-client';

import { MetricsController } from './metrics.controller.js';
import { MetricsInterceptor } from './metrics.interceptor.js';
import { PreheatMetrics } from './preheat-metrics.js';
import { createRegistry } from './registry.js';
import { REQUEST_DURATION, REQUEST_DURATION_BUCKETS_SECONDS, RequestDurations } from './request-durations.js';

/**
 * Metrics and `GET /metrics`. Every application has a registry of its own (the demo and the tests run several in one
 * process), so the providers are made by hand: those of nestjs-prometheus always register in the process-wide one.
 */
@Global()
@Module({
  imports: [PrometheusModule.register({ controller: MetricsController, defaultMetrics: { enabled: false } })],
  providers: [
    { provide: Registry, useFactory: createRegistry },
    {
      provide: getToken(REQUEST_DURATION),
      inject: [Registry],
      useFactory: (registry: Registry) =>
        new Histogram({
          name: REQUEST_DURATION,
          help: 'How long an HTTP request took until the last byte of its answer, by route pattern.',
          labelNames: ['method', 'route', 'status'],
          buckets: REQUEST_DURATION_BUCKETS_SECONDS,
          registers: [registry],
        }),
    },
    PreheatMetrics,
    RequestDurations,
    { provide: APP_INTERCEPTOR, useClass: MetricsInterceptor },
  ],
  exports: [Registry, PreheatMetrics, RequestDurations],
})
export class MetricsModule {}
