import type { RequestOptions } from 'node:https';

import type { KubeConfig } from '@kubernetes/client-node';
import { Agent } from 'undici';

import type { Clock } from '../common/clock.js';
import { messageOf } from '../domain/errors.js';
import { KubernetesError } from './kubernetes-error.js';

/** Where the API server is and how to be let in. */
export interface KubernetesAccess {
  readonly server: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly dispatcher: Agent;
}

/** Service account tokens are replaced under a running process; client-go reads them again after a minute too. */
const RELOAD_AFTER_MS = 60_000;
const MAX_CONNECTIONS = 4;

/**
 * Keeps what `@kubernetes/client-node` reads from the Pod's service account, or from `KUBECONFIG`, up to date. The
 * connections are ours: the library would open one per request, and would follow proxies of the environment.
 */
export class KubernetesSession {
  private access: KubernetesAccess | undefined;
  private loadedAtMs = 0;
  private tls = '';

  constructor(
    private readonly inCluster: boolean,
    private readonly clock: Clock,
  ) {}

  /** @param renew read the files again, whatever their age: the server refused what they said */
  async current(renew = false): Promise<KubernetesAccess> {
    const nowMs = this.clock.monotonicMs();
    if (this.access && !renew && nowMs - this.loadedAtMs < RELOAD_AFTER_MS) return this.access;
    const config = await this.load();
    const server = config.getCurrentCluster()?.server;
    if (!server) throw new KubernetesError(undefined, undefined, 'the kubeconfig names no current cluster');
    const options: RequestOptions = {};
    await config.applyToHTTPSOptions(options);
    this.access = {
      server: server.replace(/\/$/, ''),
      headers: authorizationOf(options),
      dispatcher: this.dispatcherFor(options),
    };
    this.loadedAtMs = nowMs;
    return this.access;
  }

  async close(): Promise<void> {
    await this.access?.dispatcher.destroy();
    this.access = undefined;
    this.tls = '';
  }

  private async load(): Promise<KubeConfig> {
    // Only now: it brings the models of the whole Kubernetes API with it, 60 MiB.
    const { KubeConfig } = await import('@kubernetes/client-node');
    const config = new KubeConfig();
    try {
      if (this.inCluster) config.loadFromCluster();
      else config.loadFromDefault();
    } catch (cause) {
      throw new KubernetesError(undefined, undefined, `kubeconfig cannot be read: ${messageOf(cause)}`, {
        cause,
      });
    }
    return config;
  }

  /** Connections are kept while certificates and keys stay what they are. */
  private dispatcherFor({ ca, cert, key, rejectUnauthorized, servername }: RequestOptions): Agent {
    const connect = {
      ...(ca && { ca }),
      ...(cert && { cert }),
      ...(key && { key }),
      ...(rejectUnauthorized !== undefined && { rejectUnauthorized }),
      ...(servername && { servername }),
    };
    const tls = JSON.stringify(connect);
    if (this.access && tls === this.tls) return this.access.dispatcher;
    void this.access?.dispatcher.close();
    this.tls = tls;
    return new Agent({ connect, connections: MAX_CONNECTIONS });
  }
}

function authorizationOf({ headers, auth }: RequestOptions): Record<string, string> {
  const result: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers ?? {}))
    if (typeof value === 'string') result[name.toLowerCase()] = value.trim();
  if (auth) result['authorization'] = `Basic ${Buffer.from(auth).toString('base64')}`;
  return result;
}
