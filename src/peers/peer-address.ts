import ipaddr from 'ipaddr.js';

import type { HostPort } from '../config/app-config.js';

/**
 * The one spelling of an IP address: IPv4 for IPv4-mapped IPv6 (what a dual-stack socket reports), IPv6 in its shortest
 * form without zone. What is no IP address is undefined.
 */
export function canonicalIp(text: string): string | undefined {
  const [withoutZone = ''] = text.split('%');
  // ipaddr.js also takes "127.1" and "0x7f.1"; sockets and DNS never write those.
  if (!withoutZone.includes(':') && !ipaddr.IPv4.isValidFourPartDecimal(withoutZone)) return undefined;
  return ipaddr.isValid(withoutZone) ? ipaddr.process(withoutZone).toString() : undefined;
}

/** `10.0.0.1:8080` or `[fd00::1]:8080`; also the key under which an address is known. */
export function formatAddress({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** An IP address with a port, in canonical form. What is none is undefined. */
export function parseAddress(text: string): HostPort | undefined {
  const match = /^(?:\[([^\]]{1,64})\]|([^:]{1,64})):(\d{1,5})$/.exec(text);
  const bracketed = match?.[1];
  const host = canonicalIp(bracketed ?? match?.[2] ?? '');
  const port = Number(match?.[3]);
  if (host === undefined || !(port >= 1 && port <= 65_535)) return undefined;
  return { host, port };
}

/** Canonical spelling of the IP address in `address`; a host name is left as it is. */
export function canonicalAddress({ host, port }: HostPort): HostPort {
  return { host: canonicalIp(host) ?? host, port };
}

/** The addresses in canonical form, each once, in order of first appearance. */
export function uniqueAddresses(addresses: Iterable<HostPort>): HostPort[] {
  const byKey = new Map<string, HostPort>();
  for (const address of addresses) {
    const canonical = canonicalAddress(address);
    byKey.set(formatAddress(canonical), byKey.get(formatAddress(canonical)) ?? canonical);
  }
  return [...byKey.values()];
}
