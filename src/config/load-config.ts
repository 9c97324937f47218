import { resolve } from 'node:path';

import type { AppConfig, HostPort, ProxyConfig, TlsFiles } from './app-config.js';
import { EnvironmentReader } from './environment-reader.js';
import { SETTING, type VariableName } from './environment-variables.js';
import type { HostFacts } from './host-facts.js';
import { resolveNetwork } from './resolve-network.js';
import * as types from './setting-type.js';

const MIB = 1024 * 1024;
const MINUTE_MS = 60_000;
const NO_HOSTS: readonly string[] = [];
/** The packages' own, and the one of k3s and RKE2. */
const CONTAINERD_SOCKETS: readonly string[] = [
  '/run/containerd/containerd.sock',
  '/run/k3s/containerd/containerd.sock',
];
const NO_PEERS: readonly HostPort[] = [];

/**
 * The settings table of the documentation: environment and machine in, one frozen configuration out.
 * @throws ConfigurationError naming every problem at once
 */
export function loadConfig(env: NodeJS.ProcessEnv, facts: HostFacts): AppConfig {
  const reader = new EnvironmentReader(env);
  const path = (name: VariableName, fallback: string): string =>
    resolve(facts.workingDirectory, reader.read(name, types.path) ?? fallback);
  const optionalPath = (name: VariableName): string | undefined =>
    reader.text(name) === undefined ? undefined : path(name, '');

  const inCluster = reader.text('KUBERNETES_SERVICE_HOST') !== undefined;
  const namespace = reader.read('K8S_NAMESPACE', types.dnsLabel) ?? 'default';
  const backend = reader.read('LOCK_BACKEND', SETTING.lockBackend) ?? (inCluster ? 'kubernetes' : 'memory');
  const storeDirectory = path('STORE_DIR', '/var/lib/image-preheat');
  const dockerConfigDirectory = path('DOCKER_CONFIG', `${facts.homeDirectory}/.docker`);
  const dockerTlsVerify = reader.text('DOCKER_TLS_VERIFY') !== undefined;
  const kubeconfig = reader.read('KUBECONFIG', types.path);
  const lockFile = optionalPath('LOCK_FILE');
  const peerKeyFile = optionalPath('PEER_KEY_FILE');
  const apiTokenFile = optionalPath('API_TOKEN_FILE');
  const tls = tlsFiles(reader, optionalPath);
  const deadlineMs = reader.read('PULLING_DEADLINE', SETTING.deadline);
  const dockerCertPath =
    optionalPath('DOCKER_CERT_PATH') ?? (dockerTlsVerify ? dockerConfigDirectory : undefined);
  const maxSizeBytes = reader.read('STORE_MAX_SIZE', types.size);
  const runtimeKind = reader.read('RUNTIME', SETTING.runtime);
  const containerdSocket = reader.read('CONTAINERD_ADDRESS', types.socketPath);
  const network = resolveNetwork(reader, facts, inCluster);
  const access = {
    ...network.access,
    readAuth: reader.read('READ_AUTH', types.flag) ?? false,
    allowedRegistries: reader.read('ALLOWED_REGISTRIES', types.registryHosts) ?? NO_HOSTS,
    ...(peerKeyFile === undefined ? {} : { peerKeyFile }),
    ...(apiTokenFile === undefined ? {} : { apiTokenFile }),
    secretsFrom: secretsFrom(reader, inCluster, backend),
  };
  requireCompanions(reader, inCluster, backend, access);

  const config: AppConfig = {
    inCluster,
    nodeName: network.nodeName,
    platform: facts.platform,
    podIp: network.podIp,
    host: network.host,
    port: network.port,
    mirrorPort: network.mirrorPort,
    imageListPath: path('IMAGE_LIST_PATH', '/etc/preheater/images.list'),
    intervalMs: reader.read('INTERVAL', SETTING.interval) ?? MINUTE_MS,
    preheatConcurrency: reader.read('PREHEAT_CONCURRENCY', SETTING.preheatConcurrency) ?? 1,
    pullingTimeoutMs: reader.read('PULLING_TIMEOUT', SETTING.interval) ?? 5 * MINUTE_MS,
    ...(deadlineMs ? { pullingDeadlineMs: deadlineMs } : {}),
    mountDir: path('MOUNT_DIR', '/etc/preheater'),
    tagTtlMs: reader.read('TAG_TTL', types.age) ?? 24 * 60 * MINUTE_MS,
    kubernetes: {
      namespace,
      lockConfigMap: reader.read('K8S_LOCK_CM', types.objectName) ?? 'image-preheat-lock',
      keySecret: reader.read('K8S_KEY_SECRET', types.objectName) ?? 'image-preheat-key',
      ...(kubeconfig === undefined ? {} : { kubeconfig }),
    },
    lock: {
      backend,
      timeoutMs: reader.read('K8S_LOCK_TIMEOUT', SETTING.lockTimeout) ?? 5 * MINUTE_MS,
      ...(lockFile === undefined ? {} : { file: lockFile }),
    },
    peers: {
      discovery: reader.read('PEER_DISCOVERY', SETTING.discovery) ?? (inCluster ? 'dns' : 'static'),
      serviceName:
        reader.read('PEER_DISCOVERY_SERVICE_NAME', types.hostName) ??
        `image-preheat-peers.${namespace}.svc.${clusterDomain(facts.searchDomains)}`,
      static: reader.read('PEERS', types.hostPorts) ?? NO_PEERS,
      intervalMs: reader.read('PEER_DISCOVERY_INTERVAL', SETTING.interval) ?? MINUTE_MS / 2,
    },
    access,
    ...(tls === undefined ? {} : { tls }),
    limits: {
      downloadConcurrency: reader.read('DOWNLOAD_API_CONCURRENCY', SETTING.downloadConcurrency) ?? 4,
      downloadRateBytesPerSecond: reader.read('DOWNLOAD_RATE_LIMIT', types.size) ?? 500 * MIB,
      receiveRateBytesPerSecond: reader.read('RECEIVE_RATE_LIMIT', types.size) ?? 0,
      apiRequestsPerSecond: reader.read('API_RATE_LIMIT', SETTING.requestsPerSecond) ?? 50,
    },
    runtime: {
      ...(runtimeKind === undefined ? {} : { kind: runtimeKind }),
      directory: path('RUNTIME_DIR', `${storeDirectory}/runtime`),
      restoreRepoDigests: reader.read('RESTORE_REPO_DIGESTS', SETTING.restoreRepoDigests) ?? 'auto',
      dockerHost: reader.read('DOCKER_HOST', types.dockerHost) ?? 'unix:///var/run/docker.sock',
      dockerTlsVerify,
      containerdSockets: containerdSocket === undefined ? CONTAINERD_SOCKETS : [containerdSocket],
      containerdNamespace: reader.read('CONTAINERD_NAMESPACE', types.containerdNamespace) ?? 'k8s.io',
      pinImages: reader.read('PIN_IMAGES', types.flag) ?? false,
      ...(dockerCertPath === undefined ? {} : { dockerCertPath }),
    },
    store: {
      directory: storeDirectory,
      minFree: reader.read('MIN_FREE_DISK', types.freeDisk) ?? { fraction: 0.2 },
      ...(maxSizeBytes === undefined ? {} : { maxSizeBytes }),
    },
    registry: {
      credentialsFile: path('REGISTRY_CONFIG', `${dockerConfigDirectory}/config.json`),
      certsDir: path('REGISTRY_CERTS_DIR', '/etc/docker/certs.d'),
      insecure: reader.read('INSECURE_REGISTRIES', types.registryHosts) ?? NO_HOSTS,
      proxy: readProxy(reader),
    },
    logLevel: reader.read('LOG_LEVEL', SETTING.logLevel) ?? 'info',
  };
  reader.throwProblems();
  return deepFreeze(config);
}

/** What one setting needs another for. */
function requireCompanions(
  reader: EnvironmentReader,
  inCluster: boolean,
  backend: AppConfig['lock']['backend'],
  access: AppConfig['access'],
): void {
  if (backend === 'file' && !reader.isSet('LOCK_FILE')) {
    reader.report(
      'LOCK_FILE',
      'the path of the file that the agents of this host share (needed with LOCK_BACKEND=file)',
    );
  }
  if (backend === 'kubernetes' && !inCluster && !reader.isSet('KUBECONFIG')) {
    reader.report(
      'KUBECONFIG',
      'the path of a kubeconfig (needed with LOCK_BACKEND=kubernetes outside a cluster)',
    );
  }
  if (access.secretsFrom === 'kubernetes') return;
  const why = inCluster || backend === 'kubernetes' ? 'where the other one is a file' : 'outside a cluster';
  if (access.peerAuth === 'key' && !reader.isSet('PEER_KEY_FILE')) {
    reader.report('PEER_KEY_FILE', `the file with the peer key (needed with PEER_AUTH=key ${why})`);
  }
  if (access.readAuth && !reader.isSet('API_TOKEN_FILE')) {
    reader.report('API_TOKEN_FILE', `the file with the API token (needed with READ_AUTH=true ${why})`);
  }
}

/** All three files or none: half of it would be TLS that is off, or lets everyone in. */
function tlsFiles(
  reader: EnvironmentReader,
  pathOf: (name: VariableName) => string | undefined,
): TlsFiles | undefined {
  const names = ['TLS_CERT_FILE', 'TLS_KEY_FILE', 'TLS_CA_FILE'] as const;
  const [certFile, keyFile, caFile] = names.map(pathOf);
  if (certFile !== undefined && keyFile !== undefined && caFile !== undefined)
    return { certFile, keyFile, caFile };
  const set = names.filter((name) => reader.isSet(name));
  for (const name of set.length === 0 ? [] : names)
    if (!reader.isSet(name)) reader.report(name, `the path of a PEM file (needed with ${set.join(', ')})`);
  return undefined;
}

/** One file is enough to leave the Secret alone: half of it would be a pair that no other agent has. */
function secretsFrom(
  reader: EnvironmentReader,
  inCluster: boolean,
  backend: AppConfig['lock']['backend'],
): AppConfig['access']['secretsFrom'] {
  const anyFile = reader.isSet('PEER_KEY_FILE') || reader.isSet('API_TOKEN_FILE');
  return !anyFile && (inCluster || backend === 'kubernetes') ? 'kubernetes' : 'files';
}

/** `svc.<domain>` is in the search list of every Pod with cluster DNS. */
function clusterDomain(searchDomains: readonly string[]): string {
  const domain = searchDomains.find((candidate) => candidate.startsWith('svc.'))?.slice('svc.'.length);
  return domain !== undefined && /^[\w.-]+$/.test(domain) ? domain : 'cluster.local';
}

function readProxy(reader: EnvironmentReader): ProxyConfig {
  const httpsProxy = reader.read('HTTPS_PROXY', types.proxyUrl);
  const httpProxy = reader.read('HTTP_PROXY', types.proxyUrl);
  return {
    ...(httpsProxy === undefined ? {} : { httpsProxy }),
    ...(httpProxy === undefined ? {} : { httpProxy }),
    noProxy: reader.read('NO_PROXY', types.commaList) ?? NO_HOSTS,
  };
}

function deepFreeze<T extends object>(value: T): T {
  for (const part of Object.values(value))
    if (part !== null && typeof part === 'object') deepFreeze(part as object);
  return Object.freeze(value);
}
