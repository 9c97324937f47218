import { getMetadataStorage } from 'class-validator';

import { IsSetting } from './is-setting.decorator.js';
import * as types from './setting-type.js';

/** The types that are ours alone; the others are in setting-type. */
export const SETTING = {
  interval: types.duration('100ms'),
  lockTimeout: types.duration('1s'),
  deadline: types.duration('100ms', { zero: '0 for none' }),
  preheatConcurrency: types.integer(1, 64),
  downloadConcurrency: types.integer(1, 1024),
  requestsPerSecond: types.integer(0, 1_000_000),
  lockBackend: types.oneOf(['kubernetes', 'file', 'memory']),
  discovery: types.oneOf(['dns', 'static']),
  peerAuth: types.oneOf(['key', 'none']),
  runtime: types.oneOf(['docker', 'containerd', 'directory']),
  restoreRepoDigests: types.oneOf(['auto', 'always', 'never']),
  logLevel: types.oneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
};

/** Every variable that is read, as text. An empty one counts as not set, as container tools write "unset". */
export class EnvironmentVariables {
  /** Set by Kubernetes in every Pod. */
  @IsSetting(types.anything)
  KUBERNETES_SERVICE_HOST?: string;

  @IsSetting(types.path)
  KUBECONFIG?: string;

  @IsSetting(types.nodeName)
  NODE_NAME?: string;

  @IsSetting(types.ipAddress)
  POD_IP?: string;

  @IsSetting(types.listenAddress)
  HOST?: string;

  @IsSetting(types.port)
  PORT?: string;

  @IsSetting(types.port)
  MIRROR_PORT?: string;

  @IsSetting(types.path)
  IMAGE_LIST_PATH?: string;

  @IsSetting(SETTING.interval)
  INTERVAL?: string;

  @IsSetting(SETTING.preheatConcurrency)
  PREHEAT_CONCURRENCY?: string;

  @IsSetting(SETTING.interval)
  PULLING_TIMEOUT?: string;

  @IsSetting(SETTING.deadline)
  PULLING_DEADLINE?: string;

  @IsSetting(types.path)
  MOUNT_DIR?: string;

  @IsSetting(types.dnsLabel)
  K8S_NAMESPACE?: string;

  @IsSetting(types.objectName)
  K8S_LOCK_CM?: string;

  @IsSetting(types.objectName)
  K8S_KEY_SECRET?: string;

  @IsSetting(types.age)
  TAG_TTL?: string;

  @IsSetting(SETTING.lockTimeout)
  K8S_LOCK_TIMEOUT?: string;

  @IsSetting(SETTING.lockBackend)
  LOCK_BACKEND?: string;

  @IsSetting(types.path)
  LOCK_FILE?: string;

  @IsSetting(SETTING.discovery)
  PEER_DISCOVERY?: string;

  @IsSetting(types.hostName)
  PEER_DISCOVERY_SERVICE_NAME?: string;

  @IsSetting(types.hostPorts)
  PEERS?: string;

  @IsSetting(SETTING.interval)
  PEER_DISCOVERY_INTERVAL?: string;

  @IsSetting(SETTING.peerAuth)
  PEER_AUTH?: string;

  @IsSetting(types.path)
  PEER_KEY_FILE?: string;

  @IsSetting(types.path)
  API_TOKEN_FILE?: string;

  @IsSetting(types.path)
  TLS_CERT_FILE?: string;

  @IsSetting(types.path)
  TLS_KEY_FILE?: string;

  @IsSetting(types.path)
  TLS_CA_FILE?: string;

  @IsSetting(types.flag)
  READ_AUTH?: string;

  @IsSetting(types.registryHosts)
  ALLOWED_REGISTRIES?: string;

  @IsSetting(SETTING.downloadConcurrency)
  DOWNLOAD_API_CONCURRENCY?: string;

  @IsSetting(types.size)
  DOWNLOAD_RATE_LIMIT?: string;

  @IsSetting(types.size)
  RECEIVE_RATE_LIMIT?: string;

  @IsSetting(SETTING.requestsPerSecond)
  API_RATE_LIMIT?: string;

  @IsSetting(SETTING.runtime)
  RUNTIME?: string;

  @IsSetting(types.path)
  RUNTIME_DIR?: string;

  @IsSetting(types.socketPath)
  CONTAINERD_ADDRESS?: string;

  @IsSetting(types.containerdNamespace)
  CONTAINERD_NAMESPACE?: string;

  @IsSetting(types.flag)
  PIN_IMAGES?: string;

  @IsSetting(SETTING.restoreRepoDigests)
  RESTORE_REPO_DIGESTS?: string;

  @IsSetting(types.dockerHost)
  DOCKER_HOST?: string;

  @IsSetting(types.path)
  DOCKER_CERT_PATH?: string;

  /** On with any value, as Docker's own tools have it. */
  @IsSetting(types.anything)
  DOCKER_TLS_VERIFY?: string;

  @IsSetting(types.path)
  DOCKER_CONFIG?: string;

  @IsSetting(types.path)
  STORE_DIR?: string;

  @IsSetting(types.size)
  STORE_MAX_SIZE?: string;

  @IsSetting(types.freeDisk)
  MIN_FREE_DISK?: string;

  @IsSetting(types.path)
  REGISTRY_CONFIG?: string;

  @IsSetting(types.path)
  REGISTRY_CERTS_DIR?: string;

  @IsSetting(types.proxyUrl)
  HTTPS_PROXY?: string;

  @IsSetting(types.proxyUrl)
  HTTP_PROXY?: string;

  @IsSetting(types.commaList)
  NO_PROXY?: string;

  @IsSetting(types.registryHosts)
  INSECURE_REGISTRIES?: string;

  @IsSetting(SETTING.logLevel)
  LOG_LEVEL?: string;
}

export type VariableName = keyof EnvironmentVariables;

/** Every name in the class above, in its order. */
export const VARIABLE_NAMES: readonly VariableName[] = getMetadataStorage()
  .getTargetValidationMetadatas(EnvironmentVariables, '', true, false)
  .map(({ propertyName }) => propertyName as VariableName);

/** The names a variable is looked for under, in order: the proxies', which are not ours, in lower case as well. */
export function spellingsOf(name: VariableName): readonly string[] {
  return name.endsWith('_PROXY') ? [name, name.toLowerCase()] : [name];
}
