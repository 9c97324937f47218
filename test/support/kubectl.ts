import { execFile, spawnSync } from 'node:child_process';
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

const run = promisify(execFile);

/** The first kubectl whose built-in kustomize takes folders as `resources`. */
const OLDEST_MINOR = 21;

interface Kinds {
  readonly ConfigMap: V1ConfigMap;
  readonly DaemonSet: V1DaemonSet;
  readonly Namespace: V1Namespace;
  readonly PriorityClass: V1PriorityClass;
  readonly Role: V1Role;
  readonly RoleBinding: V1RoleBinding;
  readonly Service: V1Service;
}

/**
 * `describe`, where kubectl can render our manifests. The one that Debian 12 ships is too old for that: a loud skip,
 * in CI too, since nothing that Debian has can take its place.
 */
export function describeWithKubectl(name: string, suite: () => void): void {
  const minor = minorVersion();
  if (minor === undefined || minor >= OLDEST_MINOR) {
    describeUnless(minor === undefined ? 'kubectl is not on PATH' : undefined, name, suite);
    return;
  }
  process.stderr.write(
    `\n*** SKIPPED: "${name}": kubectl 1.${minor} is older than 1.${OLDEST_MINOR} ***\n\n`,
  );
  describe.skip(name, suite);
}

/** What `kubectl apply -k <folder>` sends. Warnings of kustomize are errors here. */
export async function render(folder: string): Promise<readonly KubernetesObject[]> {
  const { stdout, stderr } = await run('kubectl', ['kustomize', folder]);
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
  const running = run('kubectl', [...args]);
  running.child.stdin?.end(input);
  return (await running).stdout;
}

function minorVersion(): number | undefined {
  const { status, stdout } = spawnSync('kubectl', ['version', '--client', '--output=json'], {
    encoding: 'utf8',
  });
  if (status !== 0) return undefined;
  const { clientVersion } = JSON.parse(stdout) as { clientVersion: { minor: string } };
  return Number.parseInt(clientVersion.minor, 10);
}
