import { randomBytes } from 'node:crypto';
import { appendFile, mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';

import { dumpYaml, KubeConfig } from '@kubernetes/client-node';

import { describeWithKubectl, kubectl } from '../support/kubectl.js';
import { describeWithCluster } from '../support/kubernetes-cluster.js';
import { defineMonitoringKinds } from '../support/monitoring-crds.js';

const K8S = resolve(__dirname, '../../k8s');
const NAMESPACE = `preheat-manifests-${randomBytes(4).toString('hex')}`;
const ACCOUNT = 'image-preheat';
const FORBIDDEN = / is forbidden: /;
/** Reviews of one's own rights, which Kubernetes grants to every account. */
const OPEN_TO_ALL = ['authentication.k8s.io', 'authorization.k8s.io'];
const TIMEOUT_MS = 60_000;

describeWithCluster('k8s/ on a real API server', () => {
  describeWithKubectl('applied to a namespace of its own', () => {
    let directory: string;
    let agentKubeconfig: string;

    const admin = (args: readonly string[], input?: string) => kubectl(['-n', NAMESPACE, ...args], input);
    const asAgent = (args: readonly string[], input?: string) =>
      kubectl(['--kubeconfig', agentKubeconfig, '-n', NAMESPACE, ...args], input);
    const patchLock = (key: string, value: string) =>
      asAgent(['patch', 'configmap', 'image-preheat-lock', '--type=json', '-p', addKey(key, value)]);

    /** An overlay that differs from `folder` in its namespace alone. */
    async function overlay(
      name: string,
      folder: string,
      field: 'resources' | 'components' = 'resources',
    ): Promise<string> {
      const path = join(directory, name);
      await mkdir(path);
      const kustomization = {
        kind: 'Kustomization',
        namespace: NAMESPACE,
        [field]: [relative(path, folder)],
      };
      await writeFile(join(path, 'kustomization.yaml'), dumpYaml(kustomization));
      return path;
    }

    beforeAll(async () => {
      directory = await realpath(await mkdtemp(join(tmpdir(), 'preheat-manifests-')));
      agentKubeconfig = join(directory, 'agent.kubeconfig');
      await admin(['apply', '-k', await overlay('deploy', K8S)]);
      const path = `/api/v1/namespaces/${NAMESPACE}/serviceaccounts/${ACCOUNT}/token`;
      const answer = await kubectl(['create', '--raw', path, '-f', '-'], tokenRequest());
      const { status } = JSON.parse(answer) as { status: { token: string } };
      await writeFile(agentKubeconfig, kubeconfigWith(status.token), { mode: 0o600 });
    }, TIMEOUT_MS);

    afterAll(async () => {
      await admin(['delete', '-k', join(directory, 'deploy'), '--ignore-not-found', '--wait=false']);
      await admin(['delete', 'daemonsets,secrets,configmaps', '--all', '--wait=false']);
      // A bare API server runs no controller that would let go of a namespace.
      const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } };
      const path = `/api/v1/namespaces/${NAMESPACE}/finalize`;
      await kubectl(['replace', '--raw', path, '-f', '-'], JSON.stringify(namespace));
      await rm(directory, { recursive: true });
    }, TIMEOUT_MS);

    it('is accepted whole, and applied again it keeps the records', async () => {
      await patchLock('00', 'record');
      const again = await admin(['apply', '-k', join(directory, 'deploy')]);
      expect(again.trim().split('\n')).toHaveLength(9);
      for (const line of again.trim().split('\n')) expect(line).toMatch(/ unchanged$/);
      const data = await admin(['get', 'configmap', 'image-preheat-lock', '-o', 'jsonpath={.data}']);
      expect(JSON.parse(data)).toEqual({ v: '1', '00': 'record' });
    });

    it('is accepted by server-side apply too, as is the uninstall', async () => {
      const force = ['apply', '--server-side', '--force-conflicts', '-k'];
      await expect(admin([...force, join(directory, 'deploy')])).resolves.toContain(
        'daemonset.apps/image-preheat',
      );
      const uninstall = await overlay('uninstall', join(K8S, 'uninstall'));
      await expect(admin([...force, uninstall])).resolves.toContain('daemonset.apps/clear-store');
    });

    it('is accepted with monitoring on top, where the Prometheus operator has defined its kinds', async () => {
      const undefine = await defineMonitoringKinds();
      try {
        const monitoring = await overlay('monitoring', join(K8S, 'overlays/monitoring'), 'components');
        const applied = (await admin(['apply', '-k', monitoring])).trim().split('\n');
        expect(applied.toSorted()).toEqual([
          'configmap/image-preheat-dashboard created',
          'prometheusrule.monitoring.coreos.com/image-preheat created',
          'servicemonitor.monitoring.coreos.com/image-preheat created',
        ]);
        for (const line of (await admin(['apply', '-k', monitoring])).trim().split('\n'))
          expect(line).toMatch(/ unchanged$/);
        await admin(['delete', '-k', monitoring]);
      } finally {
        await undefine();
      }
    });

    it('is accepted with selinux on top', async () => {
      const selinux = await overlay('selinux', K8S);
      const file = join(selinux, 'kustomization.yaml');
      const component = relative(selinux, join(K8S, 'overlays/selinux'));
      await appendFile(file, dumpYaml({ components: [component] }));
      await admin(['apply', '-k', selinux]);
      const path = 'jsonpath={.spec.template.spec.securityContext.seLinuxOptions}';
      const options = await admin(['get', 'daemonset', 'image-preheat', '-o', path]);
      expect(JSON.parse(options)).toEqual({ type: 'spc_t' });
    });

    it('lets the agent read and patch the lock, make its key, and read that', async () => {
      await expect(patchLock('01', 'record')).resolves.toContain('patched');
      await expect(asAgent(['get', 'configmap', 'image-preheat-lock'])).resolves.toContain(
        'image-preheat-lock',
      );
      const key = ['secret', 'generic', 'image-preheat-key', '--from-literal=peer-key=k'];
      await expect(asAgent(['create', ...key])).resolves.toContain('created');
      await expect(asAgent(['get', 'secret', 'image-preheat-key'])).resolves.toContain('image-preheat-key');
    });

    it.each([
      ['read its own list through the API', ['get', 'configmap', 'image-preheat-list']],
      ['list ConfigMaps', ['get', 'configmaps']],
      ['watch the lock', ['get', 'configmap', 'image-preheat-lock', '--watch']],
      ['delete the lock', ['delete', 'configmap', 'image-preheat-lock']],
      ['create a ConfigMap', ['create', 'configmap', 'other']],
      ['list Secrets', ['get', 'secrets']],
      ['read another Secret', ['get', 'secret', 'image-preheat-registry']],
      ['change its key', ['patch', 'secret', 'image-preheat-key', '-p', '{}']],
      ['delete its key', ['delete', 'secret', 'image-preheat-key']],
      ['list Pods', ['get', 'pods']],
      ['list nodes', ['get', 'nodes']],
      ['read the lock of another namespace', ['-n', 'default', 'get', 'configmap', 'image-preheat-lock']],
      ['create Secrets in another namespace', ['-n', 'default', 'create', 'secret', 'generic', 'other']],
    ])('does not let the agent %s', async (_what, args) => {
      await expect(asAgent(args)).rejects.toThrow(FORBIDDEN);
    });

    it('grants nothing beyond that and what every account may do', async () => {
      const review = { kind: 'SelfSubjectRulesReview', apiVersion: 'authorization.k8s.io/v1' };
      const path = '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews';
      const answer = await asAgent(
        ['create', '--raw', path, '-f', '-'],
        JSON.stringify({ ...review, spec: { namespace: NAMESPACE } }),
      );
      const { status } = JSON.parse(answer) as { status: { resourceRules: { apiGroups: string[] }[] } };
      expect(
        status.resourceRules.filter(({ apiGroups }) => !apiGroups.every((it) => OPEN_TO_ALL.includes(it))),
      ).toEqual([
        {
          apiGroups: [''],
          resources: ['configmaps'],
          resourceNames: ['image-preheat-lock'],
          verbs: ['get', 'patch'],
        },
        { apiGroups: [''], resources: ['secrets'], resourceNames: ['image-preheat-key'], verbs: ['get'] },
        { apiGroups: [''], resources: ['secrets'], verbs: ['create'] },
      ]);
    });
  });
});

function addKey(key: string, value: string): string {
  return JSON.stringify([{ op: 'add', path: `/data/${key}`, value }]);
}

function tokenRequest(): string {
  return JSON.stringify({
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: { expirationSeconds: 3600 },
  });
}

/** A file of its own: what the administrator proves himself with in KUBECONFIG would win over a `--token`. */
function kubeconfigWith(token: string): string {
  const administrator = new KubeConfig();
  administrator.loadFromDefault();
  const cluster = administrator.getCurrentCluster();
  if (!cluster) throw new Error('KUBECONFIG names no cluster');
  const config = new KubeConfig();
  config.loadFromClusterAndUser(cluster, { name: ACCOUNT, token });
  return config.exportConfig();
}
