import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { Registry } from 'prom-client';

import type { AppConfig } from '../../src/config/app-config.js';
import { VARIABLE_NAMES } from '../../src/config/environment-variables.js';
import { FAILURE_REASONS, PREHEAT_STATES, SOURCES } from '../../src/domain/preheat-state.js';
import { PreheatMetrics } from '../../src/metrics/preheat-metrics.js';
import { REQUEST_DURATION } from '../../src/metrics/request-durations.js';

const README = readFileSync(join(__dirname, '../../README.md'), 'utf8');

describe('README.md', () => {
  it('explains every setting', () => {
    const ours = VARIABLE_NAMES.filter((name) => name !== 'KUBERNETES_SERVICE_HOST');
    expect(ours.filter((name) => !new RegExp(`[\`$]${name}\\b`).test(README))).toEqual([]);
  });

  it('names every metric, with its labels', () => {
    const registry = new Registry();
    new PreheatMetrics(registry, { nodeName: 'node-1' } as AppConfig);
    const metrics = registry.getMetricsAsArray().map((metric) => {
      const { name, labelNames = [] } = metric as unknown as { name: string; labelNames?: string[] };
      return labelNames.length > 0 ? `${name}{${labelNames.join(',')}}` : name;
    });
    expect(metrics.length).toBeGreaterThan(10);
    expect([...metrics, REQUEST_DURATION].filter((metric) => !README.includes(`\`${metric}`))).toEqual([]);
  });

  it('lists every state, source and failure reason', () => {
    const words = [...PREHEAT_STATES, ...SOURCES, ...FAILURE_REASONS];
    expect(words.filter((word) => !README.includes(word))).toEqual([]);
  });
});
