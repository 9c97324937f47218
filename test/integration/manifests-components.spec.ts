import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { dumpYaml, type KubernetesObject } from '@kubernetes/client-node';

import { describeWithKubectl, findManifest, render } from '../support/kubectl.js';
import { renderBesideProject } from '../support/kustomization.js';

const ROOT = resolve(__dirname, '../..');
const K8S = join(ROOT, 'k8s');
const BESIDE = '../image-preheat/k8s';

const combine = (resource: string, ...components: string[]): Promise<readonly KubernetesObject[]> =>
  renderBesideProject(
    dumpYaml({
      resources: [`${BESIDE}/${resource}`],
      components: components.map((component) => `${BESIDE}/overlays/${component}`),
    }),
  );

describeWithKubectl('components of k8s/overlays', () => {
  it.each(['overlays/docker', 'uninstall'])(
    'selinux lets the Pods of %s out of confinement, and changes nothing else',
    async (resource) => {
      const [plain, onSelinux] = await Promise.all([
        render(join(K8S, resource)),
        combine(resource, 'selinux'),
      ]);
      const daemonSet = findManifest(onSelinux, 'DaemonSet');
      const { securityContext } = daemonSet.spec!.template.spec!;
      expect(securityContext?.seLinuxOptions).toEqual({ type: 'spc_t' });
      delete securityContext!.seLinuxOptions;
      expect(onSelinux).toEqual(plain);
    },
  );

  it('monitoring adds three objects, and changes none', async () => {
    const [plain, monitored] = await Promise.all([
      render(join(K8S, 'overlays/docker')),
      combine('overlays/docker', 'monitoring'),
    ]);
    const names = (objects: readonly KubernetesObject[]): string[] =>
      objects.map(({ kind, metadata }) => `${kind} ${metadata?.namespace}/${metadata?.name}`);
    const before = names(plain);
    expect(names(monitored).filter((name) => !before.includes(name))).toEqual([
      'ConfigMap image-preheat/image-preheat-dashboard',
      'PrometheusRule image-preheat/image-preheat',
      'ServiceMonitor image-preheat/image-preheat',
    ]);
    expect(monitored).toEqual(expect.arrayContaining([...plain]));
  });

  it('are combined as the README says', async () => {
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
    const [, example] = /```yaml\n(# kustomization\.yaml[^]*?)```/.exec(readme) ?? [];
    const objects = await renderBesideProject(example!);
    const { securityContext, containers } = findManifest(objects, 'DaemonSet').spec!.template.spec!;
    expect(securityContext?.seLinuxOptions).toEqual({ type: 'spc_t' });
    expect(containers.map(({ image }) => image)).toEqual(['registry.example/image-preheat:0.1.0']);
    const monitors = objects.filter(({ apiVersion }) => apiVersion?.startsWith('monitoring.coreos.com/'));
    expect(monitors.map(({ kind, metadata }) => [kind, metadata?.labels?.['release']])).toEqual([
      ['PrometheusRule', 'kube-prometheus-stack'],
      ['ServiceMonitor', 'kube-prometheus-stack'],
    ]);
  });
});
