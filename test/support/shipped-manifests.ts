import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { loadAllYaml } from '@kubernetes/client-node';

import type { PolicyRule } from './kubernetes-lab.js';

const MANIFESTS = join(__dirname, '..', '..', 'k8s', 'base');

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly rules: PolicyRule[];
  readonly data: Record<string, string>;
}

/** The Role's rules and the lock's ConfigMap, as k8s/ ships them. */
export async function shippedManifests(): Promise<{
  rules: PolicyRule[];
  configMap: { name: string; data: Record<string, string> };
}> {
  const files = ['rbac.yaml', 'lock.yaml'].map((file) => readFile(join(MANIFESTS, file), 'utf8'));
  const documents = (await Promise.all(files)).flatMap((text) => loadAllYaml(text) as Manifest[]);
  const role = documents.find(({ kind }) => kind === 'Role');
  const configMap = documents.find(({ kind }) => kind === 'ConfigMap');
  if (!role || !configMap) throw new Error('k8s/base ships no Role or no ConfigMap');
  return { rules: role.rules, configMap: { name: configMap.metadata.name, data: configMap.data } };
}
