import { isIP, type LookupFunction } from 'node:net';

import { abandonable } from '../../common/abandonable.js';
import { withTimeout } from '../../common/abort.js';
import { PreheatFailure } from '../../domain/errors.js';
import { isLoopbackHost, isMetadataName, type LocalPlace, localPlaceOf, unbracket } from './address.js';
import type { HostLookup } from './host-lookup.js';

/** A proxy is there because names may mean nothing here: nobody waits for long to hear so. */
const PROXIED_LOOKUP_MS = 5_000;

/**
 * Keeps a registry from sending us, by a token realm or a redirect, to loopback, link-local or metadata addresses, where
 * it could not go itself. It may where it already is: a registry named by a loopback address may redirect to loopback.
 * Only what the operator wrote counts for that: where a name leads is for its owner to say, and to change.
 */
export class ConnectGuard {
  private readonly ownPlace: LocalPlace | undefined;

  /** @param registryHost host name of the registry that does the sending, without port */
  constructor(
    private readonly registryHost: string,
    private readonly resolve: HostLookup,
  ) {
    this.ownPlace = isLoopbackHost(registryHost) ? 'loopback' : localPlaceOf(registryHost);
  }

  /**
   * What can be said of a host before it is looked up: addresses never are.
   * @throws PreheatFailure `registry_error`
   */
  checkHost(hostname: string): void {
    if (isMetadataName(hostname)) this.refuse('metadata');
    if (isIP(unbracket(hostname)) !== 0) this.check([unbracket(hostname)]);
  }

  /**
   * For a host that a proxy connects to, by what its own resolver says. Ours is asked whether it knows better than to go
   * there; of a name that it does not know, nothing can be said.
   * @throws PreheatFailure `registry_error`; the signal's reason
   */
  async checkProxied(hostname: string, signal: AbortSignal): Promise<void> {
    this.checkHost(hostname);
    if (isIP(unbracket(hostname)) !== 0) return;
    const late = (): Error => new Error('no answer in time');
    const ask = (limit: AbortSignal): ReturnType<HostLookup> => abandonable(this.resolve(hostname), limit);
    const addresses = await withTimeout(PROXIED_LOOKUP_MS, late, ask, signal).catch(() => []);
    signal.throwIfAborted();
    this.check(addresses.map(({ address }) => address));
  }

  /**
   * The `lookup` of a socket that refuses forbidden addresses. One of them is enough: which one is tried is not ours to
   * choose. It sits between name resolution and connecting, so that a name which changes its address finds no gap.
   */
  readonly lookup: LookupFunction = (hostname, options, callback) => {
    this.resolve(hostname)
      .then((addresses) => {
        this.check(addresses.map(({ address }) => address));
        return addresses;
      })
      .then(
        (addresses) => answerLookup(addresses, options.all === true, callback),
        (error: unknown) => callback(error as NodeJS.ErrnoException, ''),
      );
  };

  private check(addresses: readonly string[]): void {
    for (const place of addresses.map(localPlaceOf)) {
      if (place !== undefined && place !== this.ownPlace) this.refuse(place);
    }
  }

  private refuse(place: LocalPlace): never {
    throw new PreheatFailure(
      'registry_error',
      `registry ${this.registryHost} sends its clients to a ${place} address, which is not followed`,
    );
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
