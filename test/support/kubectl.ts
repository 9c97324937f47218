import { execFile, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

import {
  type KubernetesObject,
  loadAllYaml,
  type V1ConfigMap,
  type V1DaemonSet,
  type V1Namespace,
  type V1PriorityClass,
  type V1Role,
  type V1RoleBinding,
  type V1Service,
} from '@kubernetes/client-node';

import { describeUnless } from './engines.js';
import { newerPrograms } from './newer-programs.js';

const run = promisify(execFile);

/** The first kubectl whose built-in kustomize takes folders as `resources`. */
const OLDEST_MINOR = 21;

type Kubectl = { readonly program: string } | { readonly missing: string };
/** Looked for once. */
let kubectlFound: Kubectl | undefined;

interface Kinds {
  readonly ConfigMap: V1ConfigMap;
  readonly DaemonSet: V1DaemonSet;
  readonly Namespace: V1Namespace;
  readonly PriorityClass: V1PriorityClass;
  readonly Role: V1Role;
  readonly RoleBinding: V1RoleBinding;
  readonly Service: V1Service;
}

/** `describe`, where a kubectl can be had that renders our manifests; elsewhere as `describeWith` does. */
export function describeWithKubectl(name: string, suite: () => void): void {
  const found = findKubectl();
  describeUnless('missing' in found ? found.missing : undefined, name, suite);
}

/** What `kubectl apply -k <folder>` sends. Warnings of kustomize are errors here. */
export async function render(folder: string): Promise<readonly KubernetesObject[]> {
  const { stdout, stderr } = await run(program(), ['kustomize', folder]);
  if (stderr !== '') throw new Error(`kubectl kustomize ${folder}: ${stderr}`);
  return loadAllYaml(stdout) as KubernetesObject[];
}

/** The one object of that kind (and name). */
export function findManifest<K extends keyof Kinds>(
  objects: readonly KubernetesObject[],
  kind: K,
  name?: string,
): Kinds[K] {
  const [found, ...more] = objects.filter(
    (object) => object.kind === kind && (name === undefined || object.metadata?.name === name),
  );
  if (!found || more.length > 0)
    throw new Error(`not one, but ${found ? more.length + 1 : 0} of ${kind} ${name ?? ''}`);
  return found as unknown as Kinds[K];
}

/** @throws Error with kubectl's own message, `Error from server (Forbidden): …` for a 403 */
export async function kubectl(args: readonly string[], input = ''): Promise<string> {
  const running = run(program(), [...args]);
  running.child.stdin?.end(input);
  return (await running).stdout;
}

function program(): string {
  const found = findKubectl();
  if ('missing' in found) throw new Error(found.missing);
  return found.program;
}

/** This machine's, or a newer one if it has none or, as Debian 12, one that is too old. */
function findKubectl(): Kubectl {
  return (kubectlFound ??= isNewEnough('kubectl') ? { program: 'kubectl' } : fetchKubectl());
}

function fetchKubectl(): Kubectl {
  const found = newerPrograms({ suite: 'trixie', packages: ['kubectl'], programs: ['kubectl'] });
  return 'missing' in found
    ? { missing: `no kubectl 1.${OLDEST_MINOR} or newer on PATH: ${found.missing}` }
    : { program: join(found.binDirectory, 'kubectl') };
}

function isNewEnough(command: string): boolean {
  const args = ['version', '--client', '--output=json'];
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) return false;
  const { clientVersion } = JSON.parse(stdout) as { clientVersion: { minor: string } };
  return Number.parseInt(clientVersion.minor, 10) >= OLDEST_MINOR;
}
