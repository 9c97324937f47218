import { createHash } from 'node:crypto';

import { Inject, Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { type Dispatcher, Pool, ProxyAgent } from 'undici';

import { AppConfig } from '../../config/app-config.js';
import { ConnectGuard, plainLookup } from '../net/connect-guard.js';
import { CertificateStore, type HostCertificates } from '../net/certificate-store.js';
import { HostLookup } from '../net/host-lookup.js';
import { ProxyRules } from '../net/proxy-rules.js';
import type { RegistryEndpoint } from '../registry-endpoint.js';
import { networkFailure } from '../registry-errors.js';

export interface RegistryRequest {
  readonly method: 'GET' | 'HEAD' | 'POST';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** An answer whose body must be read, or given up with `discard`. */
export interface RegistryResponse {
  readonly status: number;
  readonly body: Dispatcher.ResponseData['body'];
  /** @param name lower case; several headers of one name are joined by commas */
  header(name: string): string | undefined;
}

const CONNECT_TIMEOUT_MS = 10_000;
const HEADERS_TIMEOUT_MS = 30_000;
const BODY_TIMEOUT_MS = 60_000;
/** Hosts that connections are kept open to; the one unused longest goes first. */
const MAX_POOLS = 32;

/**
 * Sends one HTTP request on behalf of a registry: right certificates, right proxy, and nowhere it may not go. Does not
 * follow redirects, does not retry. HTTP/1.1: one blob per connection needs no flow control of its own.
 */
@Injectable()
export class RegistryTransport implements OnApplicationShutdown {
  private readonly proxies: ProxyRules;
  private readonly pools = new Map<string, Dispatcher>();
  private readonly timeouts: { readonly headersTimeout: number; readonly bodyTimeout: number };

  constructor(
    @Inject(AppConfig) { registry, pullingTimeoutMs }: Pick<AppConfig, 'registry' | 'pullingTimeoutMs'>,
    private readonly certificates: CertificateStore,
    @Inject(HostLookup) private readonly resolve: HostLookup,
  ) {
    this.proxies = new ProxyRules(registry.proxy);
    this.timeouts = {
      headersTimeout: Math.min(HEADERS_TIMEOUT_MS, pullingTimeoutMs),
      bodyTimeout: Math.min(BODY_TIMEOUT_MS, pullingTimeoutMs),
    };
  }

  /**
   * @param endpoint the registry for which, and on whose word, the request is sent
   * @throws PreheatFailure `registry_unreachable`, or `registry_error` for a place that `endpoint` may not send us to;
   *   the signal's reason when it aborts
   */
  async send(
    endpoint: RegistryEndpoint,
    { url, ...request }: RegistryRequest,
    signal: AbortSignal,
  ): Promise<RegistryResponse> {
    const pool = await this.poolFor(endpoint, url, signal);
    signal.throwIfAborted();
    try {
      const { statusCode, headers, body } = await pool.request({
        ...request,
        ...this.timeouts,
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        signal,
      });
      return {
        status: statusCode,
        body,
        header: (name) => {
          const value = headers[name];
          return Array.isArray(value) ? value.join(', ') : value;
        },
      };
    } catch (error) {
      signal.throwIfAborted();
      throw networkFailure(url.host, error);
    }
  }

  async onApplicationShutdown(): Promise<void> {
    const pools = [...this.pools.values()];
    this.pools.clear();
    await Promise.all(pools.map((pool) => pool.destroy()));
  }

  private async poolFor(endpoint: RegistryEndpoint, url: URL, signal: AbortSignal): Promise<Dispatcher> {
    const registryUrl = new URL(endpoint.origin);
    const isRegistry = url.host === registryUrl.host;
    const guard = isRegistry ? undefined : new ConnectGuard(registryUrl.hostname, this.resolve);
    guard?.checkHost(url.hostname);
    const certificates = url.protocol === 'https:' ? await this.certificates.find(url.host) : undefined;
    const proxy = this.proxies.proxyFor(url);

    const key = JSON.stringify([
      url.origin,
      isRegistry ? '' : registryUrl.hostname,
      proxy,
      certificates && createHash('sha256').update(certificates.version).digest('hex'),
    ]);
    // Once per pool: a name that changes afterwards changes for the proxy alone, which looks it up again, or does not.
    if (proxy !== undefined && !this.pools.has(key)) await guard?.checkProxied(url.hostname, signal);
    const pool = this.pools.get(key) ?? this.openPool(url, proxy, guard, certificates);
    this.pools.delete(key);
    this.pools.set(key, pool);
    this.closeUnused();
    return pool;
  }

  private openPool(
    url: URL,
    proxy: string | undefined,
    guard: ConnectGuard | undefined,
    certificates: HostCertificates | undefined,
  ): Dispatcher {
    const tls = certificates ? { secureContext: certificates.secureContext } : {};
    const common = { allowH2: false, connectTimeout: CONNECT_TIMEOUT_MS };
    if (proxy !== undefined) return new ProxyAgent({ ...common, uri: proxy, requestTls: tls });
    const lookup = guard?.lookup ?? plainLookup(this.resolve);
    return new Pool(url.origin, { ...common, connect: { ...tls, lookup, timeout: CONNECT_TIMEOUT_MS } });
  }

  private closeUnused(): void {
    for (const [key, pool] of this.pools) {
      if (this.pools.size <= MAX_POOLS) return;
      this.pools.delete(key);
      // Lets what is under way finish; there is nobody to tell if that fails.
      void pool.close().catch(() => undefined);
    }
  }
}

/** Gives up an answer's body without giving up its connection, where little of it is left. */
export function discard({ body }: RegistryResponse): void {
  void body.dump({ limit: 16 * 1024 }).catch(() => undefined);
}
