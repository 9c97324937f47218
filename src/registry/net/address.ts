import ipaddr from 'ipaddr.js';

/** Addresses where services trust whoever can reach them: this machine, its link, a cloud's services for its machines. */
export type LocalPlace = 'loopback' | 'link-local' | 'metadata';

/** Where clouds hand credentials to their machines, beside 169.254.0.0/16 and fe80::/10. */
const METADATA_BLOCKS = [
  '100.100.100.200/32', // Alibaba Cloud
  '168.63.129.16/32', // Azure's WireServer
  'fd00:ec2::/64', // AWS: ::254, and ::23 for the credentials of Pods
  'fd20:ce::254/128', // Google Cloud
  'fd00:c1::a9fe:a9fe/128', // Oracle Cloud
  'fd00:42::42/128', // Scaleway
].map((block) => ipaddr.parseCIDR(block));

/** Names of the same, should our resolver not know where they lead. */
const METADATA_NAMES: ReadonlySet<string> = new Set([
  'metadata',
  'metadata.google.internal',
  'metadata.goog',
  'instance-data',
  'instance-data.ec2.internal',
  'metadata.tencentyun.com',
]);

/** IPv6 blocks whose last 32 bits are the IPv4 address that is meant. */
const IPV4_AT_THE_END = [
  '::/96', // IPv4-compatible (RFC 4291, 2.5.5.1)
  '::ffff:0:0/96', // IPv4-mapped
  '::ffff:0:0:0/96', // IPv4-translated (RFC 7915)
  '64:ff9b::/96', // NAT64 (RFC 6052)
  '64:ff9b:1::/48', // NAT64 of one network (RFC 8215)
].map((block) => ipaddr.IPv6.parseCIDR(block));
/** 6to4 (RFC 3056): the IPv4 address follows the first 16 bits. */
const IPV4_AFTER_16_BITS = ipaddr.IPv6.parseCIDR('2002::/16');

/** What `address` is; undefined for every other address and for text that is no address. IPv4 inside IPv6 counts as IPv4. */
export function localPlaceOf(address: string): LocalPlace | undefined {
  const text = withoutZone(unbracket(address));
  if (!ipaddr.isValid(text)) return undefined;
  const parsed = ipaddr.parse(text);
  return placeOf(parsed) ?? placeOf(ipv4Inside(parsed));
}

/** True for loopback addresses of this machine and for the names that always mean them (RFC 6761, 6.3). */
export function isLoopbackHost(host: string): boolean {
  const name = plainName(host);
  if (name === 'localhost' || name.endsWith('.localhost')) return true;
  // Not what leads to somebody else's loopback, through NAT64 for one.
  return ipaddr.isValid(name) && placeOf(ipaddr.process(name)) === 'loopback';
}

/** True for the names under which clouds hand credentials to their machines. */
export function isMetadataName(host: string): boolean {
  return METADATA_NAMES.has(plainName(host));
}

/** `[::1]` → `::1` */
export function unbracket(host: string): string {
  return host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
}

function plainName(host: string): string {
  return unbracket(host).toLowerCase().replace(/\.$/, '');
}

function withoutZone(address: string): string {
  return address.replace(/%.*$/, '');
}

function placeOf(address: ipaddr.IPv4 | ipaddr.IPv6 | undefined): LocalPlace | undefined {
  if (address === undefined) return undefined;
  const range = address.range();
  // Linux connects 0.0.0.0 and :: to the machine itself.
  if (range === 'loopback' || range === 'unspecified') return 'loopback';
  if (range === 'linkLocal') return 'link-local';
  const isMetadata = METADATA_BLOCKS.some(
    ([network, bits]) => network.kind() === address.kind() && address.match(network, bits),
  );
  return isMetadata ? 'metadata' : undefined;
}

function ipv4Inside(address: ipaddr.IPv4 | ipaddr.IPv6): ipaddr.IPv4 | undefined {
  if (!(address instanceof ipaddr.IPv6)) return undefined;
  const bytes = address.toByteArray();
  if (address.match(IPV4_AFTER_16_BITS)) return new ipaddr.IPv4(bytes.slice(2, 6));
  const atTheEnd = IPV4_AT_THE_END.some((block) => address.match(block));
  return atTheEnd ? new ipaddr.IPv4(bytes.slice(12)) : undefined;
}
