import { basename, dirname, join, resolve } from 'node:path';

import type { KubernetesObject, V1Container, V1PodSpec, V1Volume } from '@kubernetes/client-node';

import { VARIABLE_NAMES } from '../../src/config/environment-variables.js';
import { loadConfig } from '../../src/config/load-config.js';
import { describeWithKubectl, findManifest, render } from '../support/kubectl.js';

const K8S = resolve(__dirname, '../../k8s');
/** Values that the Downward API would fill in. */
const FIELDS: Readonly<Record<string, string>> = {
  'spec.nodeName': 'node-1',
  'status.podIP': '192.0.2.1',
  'metadata.namespace': 'image-preheat',
};

describeWithKubectl('k8s/ as kubectl renders it', () => {
  let objects: readonly KubernetesObject[];
  let pod: V1PodSpec;
  let agent: V1Container;

  beforeAll(async () => {
    objects = await render(K8S);
    pod = find('DaemonSet').spec!.template.spec!;
    agent = pod.containers[0]!;
  });

  const find = <K extends Parameters<typeof findManifest>[1]>(kind: K, name?: string) =>
    findManifest(objects, kind, name);
  const volumeAt = (path: string): { readonly volume: V1Volume; readonly readOnly: boolean } => {
    const mount = agent.volumeMounts?.find(({ mountPath }) => mountPath === path);
    const volume = pod.volumes?.find(({ name }) => name === mount?.name);
    if (!mount || !volume) throw new Error(`nothing is mounted at ${path}`);
    expect(mount.subPath).toBeUndefined();
    return { volume, readOnly: mount.readOnly === true };
  };
  const environment = (): Record<string, string> =>
    Object.fromEntries(
      agent.env!.map(({ name, value, valueFrom }) => [
        name,
        value ?? FIELDS[valueFrom!.fieldRef!.fieldPath]!,
      ]),
    );
  const config = () =>
    loadConfig(
      { ...environment(), KUBERNETES_SERVICE_HOST: '10.0.0.1' },
      {
        hostName: 'pod',
        addresses: [],
        platform: { os: 'linux', architecture: 'amd64' },
        homeDirectory: '/root',
        workingDirectory: '/app',
        searchDomains: [],
      },
    );

  it('puts everything but the PriorityClass into one namespace that admits host access', () => {
    const namespace = find('Namespace');
    expect(namespace.metadata).toMatchObject({
      name: 'image-preheat',
      labels: { 'pod-security.kubernetes.io/enforce': 'privileged' },
    });
    for (const { kind, metadata } of objects)
      if (kind !== 'Namespace' && kind !== 'PriorityClass') expect(metadata?.namespace).toBe('image-preheat');
  });

  it('sets only variables that the agent reads, to values that it accepts', () => {
    expect(VARIABLE_NAMES).toEqual(expect.arrayContaining(Object.keys(environment())));
    expect(config()).toMatchObject({
      inCluster: true,
      nodeName: 'node-1',
      host: '192.0.2.1',
      runtime: { kind: 'docker' },
      lock: { backend: 'kubernetes' },
      peers: { discovery: 'dns' },
      access: { peerAuth: 'key' },
    });
  });

  it('listens on a port of the node that is its own, and that the Service and the probes name', () => {
    const { port } = config();
    expect(pod).toMatchObject({ hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' });
    expect([80, 443, 5000, 8000, 8080, 9090]).not.toContain(port);
    expect(port).toBeLessThan(30_000); // NodePorts, then ephemeral ports
    expect(agent.ports).toEqual([{ name: 'http', protocol: 'TCP', containerPort: port }]);
    expect(find('Service').spec?.ports).toEqual([
      { name: 'http', protocol: 'TCP', port, targetPort: 'http' },
    ]);
    for (const [probe, path] of [
      [agent.startupProbe, '/health'],
      [agent.livenessProbe, '/health'],
      [agent.readinessProbe, '/health/ready'],
    ] as const)
      expect(probe).toMatchObject({ httpGet: { path, port: 'http' }, timeoutSeconds: 5 });
  });

  it('lets the peers find each other before they are ready', () => {
    const service = find('Service');
    expect(config().peers.serviceName).toBe(
      `${service.metadata?.name}.${service.metadata?.namespace}.svc.cluster.local`,
    );
    expect(service.spec).toMatchObject({ clusterIP: 'None', publishNotReadyAddresses: true });
    const daemonSet = find('DaemonSet').spec!;
    expect(service.spec?.selector).toEqual(daemonSet.selector.matchLabels);
    expect(daemonSet.template.metadata?.labels).toMatchObject(daemonSet.selector.matchLabels!);
  });

  it('runs on every Linux node, a tenth of them anew at a time, and pushes nobody aside', () => {
    expect(find('DaemonSet').spec?.updateStrategy?.rollingUpdate).toEqual({
      maxUnavailable: '10%',
    });
    expect(pod.nodeSelector).toEqual({ 'kubernetes.io/os': 'linux' });
    expect(pod.tolerations).toEqual([{ operator: 'Exists' }]);
    const priorityClass = find('PriorityClass', pod.priorityClassName);
    expect(priorityClass).toMatchObject({ preemptionPolicy: 'Never' });
    expect(priorityClass.globalDefault ?? false).toBe(false);
    expect(agent.resources).toEqual({
      requests: { cpu: '100m', memory: '256Mi' },
      limits: { memory: '1Gi' },
    });
  });

  it('gives the process no more than uid 0: no capability, no new privileges, a root it cannot write to', () => {
    expect(pod.securityContext?.seccompProfile).toEqual({ type: 'RuntimeDefault' });
    expect(agent.securityContext).toEqual({
      runAsUser: 0,
      runAsGroup: 0,
      privileged: false,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
  });

  it('mounts what the settings point at', () => {
    const { store, mountDir, imageListPath, registry } = config();
    expect(volumeAt('/tmp')).toMatchObject({ volume: { emptyDir: {} }, readOnly: false });
    expect(volumeAt(store.directory)).toMatchObject({
      volume: { hostPath: { path: '/var/lib/image-preheat', type: 'DirectoryOrCreate' } },
      readOnly: false,
    });
    expect(volumeAt(mountDir)).toMatchObject({
      volume: { hostPath: { type: 'DirectoryOrCreate' } },
      readOnly: true,
    });
    expect(volumeAt(registry.certsDir)).toMatchObject({
      volume: { hostPath: { path: '/etc/docker/certs.d' } },
      readOnly: true,
    });
    const list = find('ConfigMap', volumeAt(dirname(imageListPath)).volume.configMap?.name);
    expect(Object.keys(list.data!).map((key) => join(dirname(imageListPath), key))).toEqual([imageListPath]);
    const { secret } = volumeAt(dirname(registry.credentialsFile)).volume;
    expect(secret).toMatchObject({ optional: true, defaultMode: 0o400 });
    expect(secret?.items).toEqual([
      {
        key: '.dockerconfigjson',
        path: basename(registry.credentialsFile),
      },
    ]);
    expect(config().runtime.dockerHost).toBe('unix:///var/run/docker.sock');
    expect(volumeAt('/var/run/docker.sock')).toMatchObject({
      volume: { hostPath: { path: '/var/run/docker.sock', type: 'Socket' } },
    });
    expect(volumeAt('/var/lib/docker').readOnly).toBe(true);
  });

  it('allows one ConfigMap, one Secret, and making that Secret', () => {
    const { lockConfigMap, keySecret } = config().kubernetes;
    const core = { apiGroups: [''] };
    expect(find('Role').rules).toEqual([
      { ...core, resources: ['configmaps'], resourceNames: [lockConfigMap], verbs: ['get', 'patch'] },
      { ...core, resources: ['secrets'], resourceNames: [keySecret], verbs: ['get'] },
      { ...core, resources: ['secrets'], verbs: ['create'] },
    ]);
    expect(objects.filter(({ kind }) => kind?.startsWith('ClusterRole'))).toEqual([]);
    expect(find('RoleBinding').subjects).toEqual([
      { kind: 'ServiceAccount', name: pod.serviceAccountName, namespace: 'image-preheat' },
    ]);
    expect(find('ConfigMap', lockConfigMap).data).toEqual({ v: '1' });
  });

  it('clears the same store on uninstall, with the same image', async () => {
    const uninstall = await render(join(K8S, 'uninstall'));
    const { spec } = findManifest(uninstall, 'DaemonSet');
    const clear = spec!.template.spec!;
    expect(clear.volumes).toEqual([
      { name: 'store', hostPath: volumeAt(config().store.directory).volume.hostPath },
    ]);
    expect([...clear.initContainers!, ...clear.containers].map(({ image }) => image)).toEqual([
      agent.image,
      agent.image,
    ]);
  });
});
