import { resolve } from 'node:path';

import type { KubernetesObject } from '@kubernetes/client-node';

import { findManifest, render } from './kubectl.js';

const FOLDER = resolve(__dirname, '../../k8s/overlays/monitoring');

export interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface RuleGroup {
  readonly name: string;
  readonly rules: readonly Rule[];
}

interface PrometheusRule extends KubernetesObject {
  readonly spec: { readonly groups: readonly RuleGroup[] };
}

export interface ServiceMonitor extends KubernetesObject {
  readonly spec: {
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly jobLabel: string;
    readonly endpoints: readonly {
      readonly port: string;
      readonly relabelings: readonly { readonly targetLabel: string }[];
    }[];
  };
}

export interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string }[];
}

export interface Monitoring {
  readonly groups: readonly RuleGroup[];
  /** Of all groups. */
  readonly rules: readonly Rule[];
  readonly serviceMonitor: ServiceMonitor;
  readonly dashboard: { readonly panels: readonly Panel[] };
  /** Of all panels of the dashboard. */
  readonly queries: readonly string[];
}

/** What `k8s/overlays/monitoring` adds to a deployment. */
export async function readMonitoring(): Promise<Monitoring> {
  const objects = await render(FOLDER);
  const { spec } = one(objects, 'PrometheusRule') as PrometheusRule;
  const config = findManifest(objects, 'ConfigMap');
  if (config.metadata?.labels?.['grafana_dashboard'] !== '1')
    throw new Error('the sidecar would not find the dashboard');
  const dashboard = JSON.parse(config.data!['image-preheat.json']!) as Monitoring['dashboard'];
  return {
    groups: spec.groups,
    rules: spec.groups.flatMap(({ rules }) => rules),
    serviceMonitor: one(objects, 'ServiceMonitor') as ServiceMonitor,
    dashboard,
    queries: dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
  };
}

/** Custom resources are not among the kinds that the client library knows. */
function one(objects: readonly KubernetesObject[], kind: string): KubernetesObject {
  const [found, ...more] = objects.filter((object) => object.kind === kind);
  if (!found || more.length > 0) throw new Error(`not one, but ${found ? more.length + 1 : 0} of ${kind}`);
  return found;
}
