import { Global, type INestApplication, Injectable, Module } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { Test } from '@nestjs/testing';
import { Registry } from 'prom-client';
import request from 'supertest';
import type { App } from 'supertest/types.js';

import { Clock, systemClock } from '../../src/common/clock.js';
import { AppConfig } from '../../src/config/app-config.js';
import { PreheatFailure } from '../../src/domain/errors.js';
import { PREHEAT_STATES, SOURCES } from '../../src/domain/preheat-state.js';
import { HealthModule } from '../../src/health/health.module.js';
import type { ReadinessChecks } from '../../src/health/readiness-checks.js';
import { ErrorFilter } from '../../src/http/error.filter.js';
import { MetricsModule } from '../../src/metrics/metrics.module.js';
import type { PeerFailureKind } from '../../src/metrics/peer-failure-kind.js';
import type { PreheatMetrics } from '../../src/metrics/preheat-metrics.js';
import { REQUEST_DURATION } from '../../src/metrics/request-durations.js';
import type { Selector } from './promql.js';

type PullResult = Parameters<PreheatMetrics['registryPull']>[1];
const PULL_RESULTS: Record<PullResult, true> = { success: true, failure: true };
const REASONS: Record<PeerFailureKind, true> = {
  network: true,
  timeout: true,
  http: true,
  corrupt: true,
  auth: true,
  full: true,
};

let runtimeIsUp = true;

@Injectable()
class Checks implements ReadinessChecks {
  imageList(): Promise<void> {
    return Promise.resolve();
  }
  runtime(): Promise<void> {
    return runtimeIsUp
      ? Promise.resolve()
      : Promise.reject(new PreheatFailure('runtime_unreachable', 'down'));
  }
  store(): Promise<void> {
    return Promise.resolve();
  }
}

const providers = [
  { provide: AppConfig, useValue: { nodeName: 'node-1' } },
  // An hour passes between two looks, so that no answer is used twice.
  { provide: Clock, useValue: { ...systemClock, monotonicMs: hourly() } },
];
@Global()
@Module({ providers, exports: providers })
class SettingsModule {}

/** Every metric that an agent has, before it has done anything but answer probes, with its labels and their values. */
export async function exposedMetrics(): Promise<ExposedMetrics> {
  const module = await Test.createTestingModule({
    imports: [SettingsModule, MetricsModule, HealthModule.register(Checks)],
    providers: [{ provide: APP_FILTER, useClass: ErrorFilter }],
  }).compile();
  const app: INestApplication<App> = module.createNestApplication();
  try {
    app.useLogger(false);
    await app.init();
    for (const up of [true, false]) {
      runtimeIsUp = up;
      await request(app.getHttpServer())
        .get('/health/ready')
        .expect(up ? 200 : 503);
    }
    return await ExposedMetrics.of(app.get(Registry));
  } finally {
    await app.close();
  }
}

export class ExposedMetrics {
  private constructor(
    private readonly labelsOf: Map<string, readonly string[]>,
    private readonly valuesOf: ReadonlyMap<string, readonly string[]>,
  ) {}

  static async of(registry: Registry): Promise<ExposedMetrics> {
    const labelsOf = new Map<string, readonly string[]>();
    for (const metric of registry.getMetricsAsArray()) {
      const { name, type, labelNames } = metric as unknown as {
        name: string;
        type: string;
        labelNames: string[];
      };
      if (type !== 'histogram' && type !== 'summary') labelsOf.set(name, labelNames);
      else for (const part of ['count', 'sum']) labelsOf.set(`${name}_${part}`, labelNames);
      if (type === 'histogram') labelsOf.set(`${name}_bucket`, [...labelNames, 'le']);
    }
    const requests = (await registry.getSingleMetric(REQUEST_DURATION)!.get()).values;
    const seen = (label: string): string[] => requests.map(({ labels }) => String(labels[label]));
    const valuesOf = new Map<string, readonly string[]>([
      ['state', PREHEAT_STATES],
      ['source', SOURCES],
      ['result', Object.keys(PULL_RESULTS)],
      ['reason', Object.keys(REASONS)],
      ['route', seen('route')],
      ['status', seen('status')],
    ]);
    return new ExposedMetrics(labelsOf, valuesOf);
  }

  /** Adds what a rule records. Its name says which labels it has: `<label>_<label>:<metric>:<operation>`. */
  addRecorded(name: string): void {
    this.labelsOf.set(name, name.split(':')[0]!.split('_'));
  }

  labels(metric: string): readonly string[] | undefined {
    return this.labelsOf.get(metric);
  }

  /** What is wrong with a selector: its metric, a label, or the value of a label that has but a few. */
  faults({ metric, matchers }: Selector, targetLabels: readonly string[]): string[] {
    const labels = this.labels(metric);
    if (!labels) return [`there is no metric ${metric}`];
    return matchers.flatMap(({ label, operator, value }) => {
      if (targetLabels.includes(label)) return [];
      if (!labels.includes(label)) return [`${metric} has no label ${label}`];
      const values = this.valuesOf.get(label);
      return operator.endsWith('~') || !values || values.includes(value)
        ? []
        : [`${metric} never has ${label}="${value}"`];
    });
  }
}

function hourly(): () => number {
  let nowMs = 0;
  return () => (nowMs += 3_600_000);
}
