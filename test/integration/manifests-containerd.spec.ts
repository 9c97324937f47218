import { resolve } from 'node:path';

import type { KubernetesObject, V1Container, V1PodSpec, V1Volume } from '@kubernetes/client-node';

import { VARIABLE_NAMES } from '../../src/config/environment-variables.js';
import { loadConfig } from '../../src/config/load-config.js';
import { describeWithKubectl, findManifest, render } from '../support/kubectl.js';

const K8S = resolve(__dirname, '../../k8s');

describeWithKubectl('k8s/overlays/containerd as kubectl renders it', () => {
  let objects: readonly KubernetesObject[];
  let docker: readonly KubernetesObject[];
  let pod: V1PodSpec;
  let agent: V1Container;

  beforeAll(async () => {
    [objects, docker] = await Promise.all([
      render(resolve(K8S, 'overlays/containerd')),
      render(resolve(K8S, 'overlays/docker')),
    ]);
    pod = findManifest(objects, 'DaemonSet').spec!.template.spec!;
    agent = pod.containers[0]!;
  });

  const volumeAt = (path: string) => {
    const mount = agent.volumeMounts?.find(({ mountPath }) => mountPath === path);
    return { mount, volume: pod.volumes?.find(({ name }) => name === mount?.name) };
  };

  it('is what Docker nodes get but for the DaemonSet, whose Pod has the same rights', () => {
    const others = (all: readonly KubernetesObject[]) => all.filter(({ kind }) => kind !== 'DaemonSet');
    expect(others(objects)).toEqual(others(docker));
    const dockerPod = findManifest(docker, 'DaemonSet').spec!.template.spec!;
    const rights = ({ hostNetwork, tolerations, securityContext, serviceAccountName }: V1PodSpec) => ({
      hostNetwork,
      tolerations,
      securityContext,
      serviceAccountName,
    });
    expect(rights(pod)).toEqual(rights(dockerPod));
    const [dockerAgent] = dockerPod.containers;
    for (const key of ['image', 'ports', 'resources', 'securityContext', 'livenessProbe'] as const)
      expect(agent[key]).toEqual(dockerAgent![key]);
  });

  it('sets only variables that the agent reads, to values that it accepts', () => {
    const set = Object.fromEntries(agent.env!.map(({ name, value }) => [name, value ?? '192.0.2.1']));
    expect(VARIABLE_NAMES).toEqual(expect.arrayContaining(Object.keys(set)));
    const { runtime } = loadConfig(
      { ...set, K8S_NAMESPACE: 'image-preheat', KUBERNETES_SERVICE_HOST: '10.0.0.1' },
      {
        hostName: 'pod',
        addresses: [],
        platform: { os: 'linux', architecture: 'amd64' },
        homeDirectory: '/root',
        workingDirectory: '/app',
        searchDomains: [],
      },
    );
    expect(runtime).toMatchObject({
      kind: 'containerd',
      containerdSockets: ['/run/containerd/containerd.sock'],
      containerdNamespace: 'k8s.io',
    });
  });

  it("mounts the socket's directory, since the socket is a new one after each start of containerd", () => {
    expect(volumeAt('/run/containerd')).toMatchObject({
      mount: { readOnly: true, mountPropagation: 'HostToContainer' },
      volume: { hostPath: { path: '/run/containerd', type: 'Directory' } },
    });
  });

  it("lets the agent measure the disk of containerd's images, without showing it any", () => {
    expect(volumeAt('/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs')).toMatchObject({
      mount: { readOnly: true },
      volume: { hostPath: { path: '/var/lib/containerd/io.containerd.snapshotter.v1.native' } },
    });
  });

  it('mounts no more of the node than this', () => {
    const paths = (volumes: readonly V1Volume[]) => volumes.flatMap(({ hostPath }) => hostPath?.path ?? []);
    expect(paths(pod.volumes!).sort()).toEqual([
      '/etc/docker/certs.d',
      '/run/containerd',
      '/var/lib/containerd/io.containerd.snapshotter.v1.native',
      '/var/lib/image-preheat',
      '/var/lib/image-preheat-archives',
    ]);
  });
});
