import { isIP, type LookupFunction } from 'node:net';

import { PreheatFailure } from '../../domain/errors.js';
import { localPlaceOf, unbracket } from './address.js';
import type { HostLookup } from './host-lookup.js';

/**
 * Keeps a registry from sending us, by a token realm or a redirect, to loopback or link-local addresses, where it
 * could not go itself. It may where it already is: a registry on loopback may redirect to loopback.
 * The check sits between name resolution and connecting, so that a name which changes its address finds no gap.
 */
export class ConnectGuard {
  /** @param registryHost host name of the registry that does the sending, without port */
  constructor(
    private readonly registryHost: string,
    private readonly resolve: HostLookup,
  ) {}

  /** For a host that is an address already: those are never looked up. @throws PreheatFailure `registry_error` */
  async checkLiteral(hostname: string): Promise<void> {
    if (isIP(unbracket(hostname)) !== 0) await this.check([unbracket(hostname)]);
  }

  /** The `lookup` of a socket that refuses forbidden addresses. One of them is enough: which one is tried is not ours to choose. */
  readonly lookup: LookupFunction = (hostname, options, callback) => {
    this.resolve(hostname)
      .then(async (addresses) => {
        await this.check(addresses.map(({ address }) => address));
        return addresses;
      })
      .then(
        (addresses) => answerLookup(addresses, options.all === true, callback),
        (error: unknown) => callback(error as NodeJS.ErrnoException, ''),
      );
  };

  private async check(addresses: readonly string[]): Promise<void> {
    const places = new Set(addresses.map(localPlaceOf).filter((place) => place !== undefined));
    if (places.size === 0) return;
    const own = await this.registryPlaces();
    for (const place of places) {
      if (own.has(place)) continue;
      throw new PreheatFailure(
        'registry_error',
        `registry ${this.registryHost} sends its clients to a ${place} address, which is not followed`,
      );
    }
  }

  /** Looked up only when there is something to refuse. */
  private async registryPlaces(): Promise<ReadonlySet<string | undefined>> {
    const host = unbracket(this.registryHost);
    if (isIP(host) !== 0) return new Set([localPlaceOf(host)]);
    const addresses = await this.resolve(host);
    return new Set(addresses.map(({ address }) => localPlaceOf(address)));
  }
}

/** The `lookup` of a socket that goes where the registry's own name leads. */
export function plainLookup(resolve: HostLookup): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname).then(
      (addresses) => answerLookup(addresses, options.all === true, callback),
      (error: unknown) => callback(error as NodeJS.ErrnoException, ''),
    );
  };
}

/** Answers in the form the socket asked for: all addresses, or the first. */
function answerLookup(
  addresses: readonly { readonly address: string; readonly family: number }[],
  all: boolean,
  callback: Parameters<LookupFunction>[2],
): void {
  const [first] = addresses;
  if (!first) callback(Object.assign(new Error('no address'), { code: 'ENOTFOUND' }), '');
  else if (all) callback(null, [...addresses]);
  else callback(null, first.address, first.family);
}
