import ipaddr from 'ipaddr.js';

/** Addresses that belong to this machine or its link, where services trust whoever can reach them. */
export type LocalPlace = 'loopback' | 'link-local';

/** What `address` is; undefined for every other address and for text that is no address. IPv4 inside IPv6 counts as IPv4. */
export function localPlaceOf(address: string): LocalPlace | undefined {
  const text = unbracket(address).replace(/%.*$/, '');
  if (!ipaddr.isValid(text)) return undefined;
  const range = ipaddr.process(text).range();
  // Linux connects 0.0.0.0 and :: to the machine itself.
  if (range === 'loopback' || range === 'unspecified') return 'loopback';
  return range === 'linkLocal' ? 'link-local' : undefined;
}

/** True for loopback addresses and for the names that always mean them (RFC 6761, 6.3). */
export function isLoopbackHost(host: string): boolean {
  const name = unbracket(host).toLowerCase().replace(/\.$/, '');
  return name === 'localhost' || name.endsWith('.localhost') || localPlaceOf(name) === 'loopback';
}

/** `[::1]` → `::1` */
export function unbracket(host: string): string {
  return host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
}
