import type { LookupAddress } from 'node:dns';
import { lookup } from 'node:dns/promises';

import { abandonable } from '../../common/abandonable.js';
import type { HostPort } from '../../config/app-config.js';
import { canonicalIp, uniqueAddresses } from '../peer-address.js';
import type { PeerDiscovery } from '../peer-discovery.js';

/** All addresses of a host name. */
export type LookupHost = (host: string) => Promise<readonly LookupAddress[]>;

const lookupHost: LookupHost = (host) => lookup(host, { all: true });

/**
 * `PEERS`: a fixed list. Host names are resolved each time, as the system resolves them; one that cannot be resolved
 * right now keeps the addresses it had.
 */
export class StaticDiscovery implements PeerDiscovery {
  private readonly known = new Map<string, readonly string[]>();

  constructor(
    private readonly peers: readonly HostPort[],
    private readonly resolve: LookupHost = lookupHost,
  ) {}

  /** A name that could never be resolved is left out; throws when none of all there is can be now. */
  async list(signal: AbortSignal): Promise<readonly HostPort[]> {
    const results = await abandonable(
      Promise.allSettled(this.peers.map((peer) => this.addressesOf(peer))),
      signal,
    );
    const failures = results.filter((result) => result.status === 'rejected');
    if (failures.length > 0 && failures.length === results.length)
      throw new AggregateError(
        failures.map(({ reason }) => reason as Error),
        'no host name in PEERS can be resolved',
      );
    return uniqueAddresses(
      results.flatMap((result, index) =>
        result.status === 'fulfilled' ? result.value : this.lastOf(this.peers[index]),
      ),
    );
  }

  private async addressesOf({ host, port }: HostPort): Promise<HostPort[]> {
    const ip = canonicalIp(host);
    if (ip !== undefined) return [{ host: ip, port }];
    const addresses = (await this.resolve(host)).map(({ address }) => address);
    this.known.set(host, addresses);
    return addresses.map((address) => ({ host: address, port }));
  }

  private lastOf(peer: HostPort | undefined): HostPort[] {
    if (!peer) return [];
    return (this.known.get(peer.host) ?? []).map((host) => ({ host, port: peer.port }));
  }
}
