import { spawnSync } from 'node:child_process';

import { Histogram } from 'prom-client';

import type { AppConfig } from '../../src/config/app-config.js';
import { PreheatMetrics } from '../../src/metrics/preheat-metrics.js';
import { createRegistry } from '../../src/metrics/registry.js';
import { REQUEST_DURATION } from '../../src/metrics/request-durations.js';
import { describeWith } from '../support/engines.js';

describeWith('promtool', 'promtool check metrics', () => {
  it('has nothing to say about what an agent exposes', async () => {
    const registry = createRegistry();
    const metrics = new PreheatMetrics(registry, { nodeName: 'node-1' } as AppConfig);
    const image = 'docker.io/library/nginx:latest';
    metrics.registryPull(image, 'failure', 1);
    metrics.registryPulling(image, true);
    metrics.peerFetch(image, 'node-2', 1);
    metrics.peerFetchFailed(image, 'node-2', 'network');
    metrics.preheated(image, 'store');
    metrics.preheatFailed(image, 'archive');
    metrics.state(image, 'failed');
    metrics.drift(image, false);
    metrics.uniqueBytes(image, 1);
    metrics.lockHeld(image, true);
    metrics.imageList(1, 0, Date.now());
    new Histogram({ name: REQUEST_DURATION, help: 'Requests.', registers: [registry] }).observe(1);

    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
      input: await registry.metrics(),
      encoding: 'utf8',
    });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' });
  });
});
