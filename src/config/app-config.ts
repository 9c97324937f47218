import type { Platform } from '../domain/platform.js';

/** A bound on free disk space: bytes, or a part of the file system. */
export type FreeDisk = { readonly bytes: number } | { readonly fraction: number };

/** Host and port of a listener or a peer; IPv6 hosts without brackets. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** How `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` were set; for registries only. */
export interface ProxyConfig {
  readonly httpsProxy?: string;
  readonly httpProxy?: string;
  readonly noProxy: readonly string[];
}

/** Files of mutual TLS on the API and between agents, PEM. */
export interface TlsFiles {
  /** This node's certificate, with what is between it and the CA. */
  readonly certFile: string;
  readonly keyFile: string;
  /** Whoever shows a certificate that these have signed is let in, and on. */
  readonly caFile: string;
}

/**
 * Everything the environment decides, checked once at start and never read again from `process.env`.
 * Durations in milliseconds, sizes in bytes, rates in bytes per second; 0 means no limit where the setting allows it.
 */
export interface AppConfig {
  /** True when Kubernetes started this process (`KUBERNETES_SERVICE_HOST`). */
  readonly inCluster: boolean;
  readonly nodeName: string;
  readonly platform: Platform;
  /** Where peers reach this agent. */
  readonly podIp: string;
  readonly host: string;
  readonly port: number;
  readonly mirrorPort: number;
  readonly imageListPath: string;
  readonly intervalMs: number;
  readonly preheatConcurrency: number;
  readonly pullingTimeoutMs: number;
  readonly pullingDeadlineMs?: number;
  readonly mountDir: string;
  readonly tagTtlMs: number;
  readonly kubernetes: {
    readonly namespace: string;
    readonly lockConfigMap: string;
    readonly keySecret: string;
    /** `KUBECONFIG`, for an agent outside a cluster. */
    readonly kubeconfig?: string;
  };
  readonly lock: {
    readonly backend: 'kubernetes' | 'file' | 'memory';
    readonly timeoutMs: number;
    /** Set with `file`. */
    readonly file?: string;
  };
  readonly peers: {
    readonly discovery: 'dns' | 'static';
    readonly serviceName: string;
    readonly static: readonly HostPort[];
    readonly intervalMs: number;
  };
  readonly access: {
    readonly peerAuth: 'key' | 'none';
    /** Where peer key and API token are: in the Secret that the agents make themselves, or in the two files. */
    readonly secretsFrom: 'kubernetes' | 'files';
    readonly peerKeyFile?: string;
    readonly apiTokenFile?: string;
    /** The API token is needed for reading state too. */
    readonly readAuth: boolean;
    /** Registry hosts that `POST /images/preheat` may name beside those in the list. */
    readonly allowedRegistries: readonly string[];
  };
  /** Undefined: the API and the calls between agents are plain HTTP. */
  readonly tls?: TlsFiles;
  readonly limits: {
    readonly downloadConcurrency: number;
    readonly downloadRateBytesPerSecond: number;
    readonly receiveRateBytesPerSecond: number;
    readonly apiRequestsPerSecond: number;
  };
  readonly runtime: {
    /** Undefined: the first whose socket answers. */
    readonly kind?: 'docker' | 'containerd' | 'directory';
    readonly directory: string;
    readonly restoreRepoDigests: 'auto' | 'always' | 'never';
    /** Docker's own variables, `DOCKER_HOST` among them, as dockerode wants to see them. */
    readonly dockerHost: string;
    readonly dockerCertPath?: string;
    readonly dockerTlsVerify: boolean;
    /** Sockets where containerd is looked for, in this order. */
    readonly containerdSockets: readonly string[];
    readonly containerdNamespace: string;
    /** Listed images are kept from kubelet's garbage collection. */
    readonly pinImages: boolean;
  };
  readonly store: {
    readonly directory: string;
    /** 0: no limit. Undefined: the smaller of 20 GiB and a tenth of its file system. */
    readonly maxSizeBytes?: number;
    readonly minFree: FreeDisk;
  };
  readonly registry: {
    /** Docker `config.json` with credentials; it may not exist. */
    readonly credentialsFile: string;
    readonly certsDir: string;
    readonly insecure: readonly string[];
    readonly proxy: ProxyConfig;
  };
  readonly logLevel: string;
}
export const AppConfig = Symbol('AppConfig');
