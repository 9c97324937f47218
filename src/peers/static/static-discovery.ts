import type { LookupAddress } from 'node:dns';
import { lookup } from 'node:dns/promises';

import { abandonable } from '../../common/abandonable.js';
import type { HostPort } from '../../config/app-config.js';
import { canonicalIp, uniqueAddresses } from '../peer-address.js';
import type { PeerDiscovery } from '../peer-discovery.js';

/** All addresses of a host name. */
export type LookupHost = (host: string) => Promise<readonly LookupAddress[]>;

const lookupHost: LookupHost = (host) => lookup(host, { all: true });

/** `PEERS`: a fixed list. Host names are resolved each time, as the system resolves them. */
export class StaticDiscovery implements PeerDiscovery {
  constructor(
    private readonly peers: readonly HostPort[],
    private readonly resolve: LookupHost = lookupHost,
  ) {}

  /** A name that cannot be resolved is left out; throws when that is so of all there is. */
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
    return uniqueAddresses(results.flatMap((result) => (result.status === 'fulfilled' ? result.value : [])));
  }

  private async addressesOf({ host, port }: HostPort): Promise<HostPort[]> {
    const ip = canonicalIp(host);
    if (ip !== undefined) return [{ host: ip, port }];
    return (await this.resolve(host)).map(({ address }) => ({ host: address, port }));
  }
}
