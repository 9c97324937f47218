import { collectDefaultMetrics, Registry } from 'prom-client';

/** Gauges that prom-client calls `…_total`, against Prometheus' naming rules; the ones without the suffix say the same by type. */
const MISNAMED = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
];

/** An application's own registry, with the default process metrics in it. */
export function createRegistry(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  for (const name of MISNAMED) registry.removeSingleMetric(name);
  return registry;
}
