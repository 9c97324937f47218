import type { V1Container, V1PodSpec } from '@kubernetes/client-node';
import type { ContainerCreateOptions } from 'dockerode';

import { parseSizeBytes } from '../../src/common/units.js';

/** What a node brings to a Pod. */
export interface NodeFacts {
  /** What the Downward API fills in, by field. */
  readonly fields: Readonly<Record<string, string>>;
  /** Where the volumes are, by name; with the place of their mount, where that is another one on this node. */
  readonly volumes: Readonly<Record<string, { readonly source: string; readonly target?: string }>>;
  /** In place of the manifest's settings, or beside them. */
  readonly environment: Readonly<Record<string, string>>;
}

/**
 * The Pod's one container as kubelet asks a runtime for it: rights, mounts, memory and settings of the manifest.
 * @throws Error on what this does not know how to ask Docker for
 */
export function containerOf(pod: V1PodSpec, image: string, node: NodeFacts): ContainerCreateOptions {
  const [agent, ...more] = pod.containers;
  if (!agent || more.length > 0 || pod.initContainers) throw new Error('the Pod has not one container alone');
  const { securityContext: rights = {}, resources } = agent;
  const {
    runAsUser,
    runAsGroup,
    privileged,
    allowPrivilegeEscalation,
    readOnlyRootFilesystem,
    capabilities,
  } = rights;
  const seccomp = rights.seccompProfile ?? pod.securityContext?.seccompProfile;
  // Docker's own default is what `RuntimeDefault` means; kubelet's own default would be none.
  if (seccomp?.type !== 'RuntimeDefault') throw new Error(`seccomp profile ${seccomp?.type ?? 'unset'}`);
  const memoryBytes = parseSizeBytes(`${resources?.limits?.['memory'] ?? 'no limit'}B`);
  return {
    Image: image,
    User: `${runAsUser}:${runAsGroup}`,
    Env: Object.entries({ ...settingsOf(agent, node), ...node.environment }).map(
      ([name, value]) => `${name}=${value}`,
    ),
    HostConfig: {
      NetworkMode: pod.hostNetwork === true ? 'host' : 'none',
      Privileged: privileged === true,
      ReadonlyRootfs: readOnlyRootFilesystem === true,
      CapDrop: [...(capabilities?.drop ?? [])],
      CapAdd: [...(capabilities?.add ?? [])],
      SecurityOpt: allowPrivilegeEscalation === false ? ['no-new-privileges'] : [],
      // No swap, as kubelet has it.
      Memory: memoryBytes,
      MemorySwap: memoryBytes,
      Binds: bindsOf(agent, node),
    },
  };
}

function settingsOf({ env = [] }: V1Container, { fields }: NodeFacts): Record<string, string> {
  return Object.fromEntries(
    env.map(({ name, value, valueFrom }) => {
      const known = value ?? fields[valueFrom?.fieldRef?.fieldPath ?? ''];
      if (known === undefined) throw new Error(`nothing tells the value of ${name}`);
      return [name, known];
    }),
  );
}

function bindsOf({ volumeMounts = [] }: V1Container, { volumes }: NodeFacts): string[] {
  return volumeMounts.map(({ name, mountPath, readOnly }) => {
    const volume = volumes[name];
    if (!volume) throw new Error(`this node has no volume ${name}`);
    return `${volume.source}:${volume.target ?? mountPath}:${readOnly === true ? 'ro' : 'rw'}`;
  });
}
