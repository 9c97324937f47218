import { lookup } from 'node:dns/promises';

/** Turns a host name into its addresses; rejects as `dns.lookup` does. */
export type HostLookup = (
  hostname: string,
) => Promise<readonly { readonly address: string; readonly family: number }[]>;
export const HostLookup = Symbol('HostLookup');

/** The operating system's resolver. */
export const systemHostLookup: HostLookup = (hostname) => lookup(hostname, { all: true });
