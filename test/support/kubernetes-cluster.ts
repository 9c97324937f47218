import { KubeConfig } from '@kubernetes/client-node';

import { isLoopbackHost } from '../../src/registry/net/address.js';
import { describeUnless } from './engines.js';

/** `describe`, where `KUBECONFIG` names an API server that is there for tests; elsewhere as `describeWith` does. */
export function describeWithCluster(name: string, suite: () => void): void {
  describeUnless(unfitCluster(process.env['KUBECONFIG']), name, suite);
}

/**
 * Why no test may use the cluster that `kubeconfig` names. Tests change what belongs to a whole cluster: they apply k8s/
 * and delete it again, its PriorityClass too. So they take an API server of this machine only.
 */
export function unfitCluster(kubeconfig: string | undefined): string | undefined {
  if (kubeconfig === undefined) return 'KUBECONFIG is not set';
  const config = new KubeConfig();
  try {
    config.loadFromFile(kubeconfig);
  } catch (error) {
    return `KUBECONFIG=${kubeconfig} cannot be read: ${String(error)}`;
  }
  const server = config.getCurrentCluster()?.server;
  if (server === undefined) return `KUBECONFIG=${kubeconfig} names no cluster`;
  const host = URL.parse(server)?.hostname ?? '';
  return isLoopbackHost(host) ? undefined : `KUBECONFIG names ${server}, which is not on loopback: REFUSED`;
}
