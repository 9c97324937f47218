import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import type { RequestOptions } from 'node:https';

import { KubeConfig } from '@kubernetes/client-node';
import { Agent, request } from 'undici';

/** A rule of a Role, as its manifest writes it. */
export interface PolicyRule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

const RBAC = '/apis/rbac.authorization.k8s.io/v1';

/** A namespace of its own on the API server that `KUBECONFIG` names, driven as its administrator. */
export class KubernetesLab {
  readonly namespace = `preheat-test-${randomBytes(4).toString('hex')}`;
  private readonly config = new KubeConfig();
  private agent: Agent | undefined;
  private authorization = '';

  async open(): Promise<void> {
    this.config.loadFromDefault();
    const options: RequestOptions = {};
    await this.config.applyToHTTPSOptions(options);
    const { ca, cert, key, rejectUnauthorized = true, headers = {} } = options;
    this.authorization = (headers as Record<string, string | undefined>)['Authorization'] ?? '';
    this.agent = new Agent({
      connect: { rejectUnauthorized, ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) },
    });
    await this.send('POST', '/api/v1/namespaces', { metadata: { name: this.namespace } });
  }

  /** No controllers run on a bare API server: objects are removed by hand, and so is what keeps the namespace. */
  async close(): Promise<void> {
    const namespace = `/api/v1/namespaces/${this.namespace}`;
    for (const kind of ['configmaps', 'secrets', 'serviceaccounts'])
      await this.send('DELETE', `${namespace}/${kind}`);
    for (const kind of ['roles', 'rolebindings'])
      await this.send('DELETE', `${RBAC}/namespaces/${this.namespace}/${kind}`);
    await this.send('DELETE', namespace);
    await this.send('PUT', `${namespace}/finalize`, {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: this.namespace },
      spec: { finalizers: [] },
    });
    await this.agent?.close();
  }

  async createConfigMap(
    name: string,
    data: Readonly<Record<string, string>>,
    options: { readonly immutable?: boolean } = {},
  ): Promise<void> {
    await this.send('POST', `/api/v1/namespaces/${this.namespace}/configmaps`, {
      metadata: { name },
      data,
      ...options,
    });
  }

  async readConfigMap(name: string): Promise<Readonly<Record<string, string>>> {
    const path = `/api/v1/namespaces/${this.namespace}/configmaps/${name}`;
    return ((await this.send('GET', path)) as { data: Record<string, string> }).data;
  }

  /** A ServiceAccount with these rights, and a kubeconfig file in which its token stands. */
  async writeKubeconfigOf(account: string, rules: readonly PolicyRule[], path: string): Promise<void> {
    const { namespace } = this;
    const metadata = { name: account };
    await this.send('POST', `/api/v1/namespaces/${namespace}/serviceaccounts`, { metadata });
    await this.send('POST', `${RBAC}/namespaces/${namespace}/roles`, { metadata, rules });
    await this.send('POST', `${RBAC}/namespaces/${namespace}/rolebindings`, {
      metadata,
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: account },
      subjects: [{ kind: 'ServiceAccount', name: account, namespace }],
    });
    const { status } = (await this.send(
      'POST',
      `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`,
      {
        spec: { expirationSeconds: 3600 },
      },
    )) as { status: { token: string } };
    const cluster = this.config.getCurrentCluster();
    if (!cluster) throw new Error('KUBECONFIG names no cluster');
    const config = new KubeConfig();
    config.loadFromClusterAndUser(cluster, { name: account, token: status.token });
    await writeFile(path, config.exportConfig(), { mode: 0o600 });
  }

  private async send(
    method: 'GET' | 'POST' | 'PUT' | 'DELETE',
    path: string,
    document?: object,
  ): Promise<unknown> {
    const server = this.config.getCurrentCluster()?.server ?? '';
    const answer = await request(`${server}${path}`, {
      method,
      headers: { authorization: this.authorization, 'content-type': 'application/json' },
      ...(document && { body: JSON.stringify(document) }),
      ...(this.agent && { dispatcher: this.agent }),
    });
    const text = await answer.body.text();
    if (answer.statusCode >= 300) throw new Error(`${method} ${path}: ${answer.statusCode} ${text}`);
    return JSON.parse(text);
  }
}
