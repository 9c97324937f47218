import { kubectl } from './kubectl.js';

const GROUP = 'monitoring.coreos.com';
const KINDS = ['ServiceMonitor', 'PrometheusRule'] as const;

/**
 * Makes the API server know the kinds of the Prometheus operator that we use. The definitions say no more than that:
 * what the operator's own think of a `spec` only those can tell. Definitions that are there already are used.
 * @returns takes away again what it made, and all objects of those kinds with it
 */
export async function defineMonitoringKinds(): Promise<() => Promise<void>> {
  const made: string[] = [];
  for (const kind of KINDS) {
    const crd = definitionOf(kind);
    const found = await kubectl(['get', 'crd', crd.metadata.name, '--ignore-not-found', '-o', 'name']);
    if (found !== '') continue;
    await kubectl(['create', '-f', '-'], JSON.stringify(crd));
    made.push(crd.metadata.name);
    await kubectl(['wait', '--for=condition=Established', '--timeout=30s', 'crd', crd.metadata.name]);
  }
  return async () => {
    if (made.length > 0) await kubectl(['delete', 'crd', ...made, '--ignore-not-found']);
  };
}

function definitionOf(kind: (typeof KINDS)[number]) {
  const singular = kind.toLowerCase();
  const spec = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${singular}s.${GROUP}` },
    spec: {
      group: GROUP,
      scope: 'Namespaced',
      names: { kind, singular, plural: `${singular}s`, listKind: `${kind}List` },
      versions: [
        {
          name: 'v1',
          served: true,
          storage: true,
          schema: { openAPIV3Schema: { type: 'object', required: ['spec'], properties: { spec } } },
        },
      ],
    },
  };
}
