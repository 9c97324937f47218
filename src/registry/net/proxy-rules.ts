import ipaddr from 'ipaddr.js';

import type { ProxyConfig } from '../../config/app-config.js';
import { InvalidInputError } from '../../domain/errors.js';
import { isLoopbackHost, unbracket } from './address.js';

type Rule = (host: string, port: string) => boolean;

/**
 * Which proxy a request goes through: `HTTPS_PROXY` or `HTTP_PROXY`, by the request's own scheme, unless `NO_PROXY`
 * names its host. Loopback is never proxied.
 */
export class ProxyRules {
  private readonly httpsProxy: string | undefined;
  private readonly httpProxy: string | undefined;
  private readonly exceptions: readonly Rule[];

  /** @throws InvalidInputError `INVALID_PROXY` (the value is not shown: it may hold a password) */
  constructor({ httpsProxy, httpProxy, noProxy }: ProxyConfig) {
    this.httpsProxy = parseProxy('HTTPS_PROXY', httpsProxy);
    this.httpProxy = parseProxy('HTTP_PROXY', httpProxy);
    this.exceptions = noProxy.map(parseNoProxyRule).filter((rule) => rule !== undefined);
  }

  /** The proxy's URL, or undefined to connect directly. */
  proxyFor(url: URL): string | undefined {
    const proxy = url.protocol === 'https:' ? this.httpsProxy : this.httpProxy;
    if (proxy === undefined || isLoopbackHost(url.hostname)) return undefined;
    const host = unbracket(url.hostname).toLowerCase().replace(/\.$/, '');
    const port = url.port || (url.protocol === 'https:' ? '443' : '80');
    return this.exceptions.some((matches) => matches(host, port)) ? undefined : proxy;
  }
}

/**
 * One entry of `NO_PROXY`, as Go's `httpproxy` reads it: `*`, an address, a CIDR block, `example.com` (and every
 * subdomain), `.example.com` or `*.example.com` (subdomains alone), each but CIDR with an optional `:port`.
 * Undefined for an empty entry.
 */
export function parseNoProxyRule(entry: string): Rule | undefined {
  const text = entry.trim().toLowerCase();
  if (text === '') return undefined;
  if (text === '*') return () => true;
  if (ipaddr.isValidCIDR(text)) {
    const [network, prefixLength] = ipaddr.parseCIDR(text);
    return (host) => {
      if (!ipaddr.isValid(host)) return false;
      const address = ipaddr.process(host);
      return address.kind() === network.kind() && address.match(network, prefixLength);
    };
  }
  const { host: pattern, port: wantedPort } = splitPort(text);
  const portMatches = (port: string): boolean => wantedPort === undefined || wantedPort === port;
  if (ipaddr.isValid(pattern)) {
    const address = ipaddr.process(pattern).toNormalizedString();
    return (host, port) =>
      portMatches(port) && ipaddr.isValid(host) && ipaddr.process(host).toNormalizedString() === address;
  }
  const subdomainsOnly = /^\*?\./.test(pattern);
  const suffix = `.${pattern.replace(/^\*?\./, '').replace(/\.$/, '')}`;
  return (host, port) =>
    portMatches(port) && (host.endsWith(suffix) || (!subdomainsOnly && `.${host}` === suffix));
}

function splitPort(text: string): { host: string; port?: string } {
  const match = /^(\[[^\]]*\]|[^:]+):(\d{1,5})$/.exec(text);
  if (!match?.[1] || match[2] === undefined) return { host: unbracket(text) };
  return { host: unbracket(match[1]), port: match[2] };
}

function parseProxy(name: string, value: string | undefined): string | undefined {
  if (value === undefined || value.trim() === '') return undefined;
  const text = value.trim();
  const url = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`);
  if (url === null || !/^https?:$/.test(url.protocol) || url.hostname === '') {
    throw new InvalidInputError(
      'INVALID_PROXY',
      `${name} is not a proxy: a URL with http or https, such as http://proxy.example.com:3128, is accepted`,
    );
  }
  return url.href;
}
