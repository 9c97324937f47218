import { Resolver } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';

import { errnoOf } from '../../common/errno.js';
import { parseResolvConf } from '../../common/resolv-conf.js';
import type { HostPort } from '../../config/app-config.js';
import { uniqueAddresses } from '../peer-address.js';
import type { PeerDiscovery } from '../peer-discovery.js';
import { candidateNames } from './candidate-names.js';

/** What of a resolver is needed. */
export type NameResolver = Pick<Resolver, 'resolve4' | 'resolve6' | 'cancel'>;

export interface DnsDiscoveryOptions {
  /** The headless Service. */
  readonly serviceName: string;
  /** DNS gives no ports: all agents listen on the same one. */
  readonly port: number;
  /** A new resolver per look-up, so that it follows changes of `resolv.conf`. */
  readonly makeResolver?: () => NameResolver;
  readonly resolvConfPath?: string;
}

/** Answers all the same: there are no addresses of that family. */
const NO_ADDRESSES = ['ENODATA', 'ENOTFOUND'];

/**
 * A and AAAA records of a headless Service: one address per agent and IP family. A family that cannot be asked right
 * now keeps the agents it had, as the whole list does when neither can.
 */
export class DnsDiscovery implements PeerDiscovery {
  /** IPv4, IPv6. */
  private readonly known: [readonly string[], readonly string[]] = [[], []];
  private readonly makeResolver: () => NameResolver;
  private readonly resolvConfPath: string;

  constructor(private readonly options: DnsDiscoveryOptions) {
    this.makeResolver = options.makeResolver ?? (() => new Resolver({ timeout: 2_000, tries: 2 }));
    this.resolvConfPath = options.resolvConfPath ?? '/etc/resolv.conf';
  }

  async list(signal: AbortSignal): Promise<readonly HostPort[]> {
    signal.throwIfAborted();
    const names = candidateNames(this.options.serviceName, await this.readResolvConf(signal));
    const resolver = this.makeResolver();
    const cancel = (): void => resolver.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    try {
      return await this.firstAnswer(resolver, names, signal);
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  }

  private async firstAnswer(
    resolver: NameResolver,
    names: readonly string[],
    signal: AbortSignal,
  ): Promise<readonly HostPort[]> {
    const problems: unknown[] = [];
    for (const name of names) {
      const results = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]);
      signal.throwIfAborted();
      const errors = results.flatMap((result) =>
        result.status === 'rejected' ? [result.reason as unknown] : [],
      );
      // The name exists and has no addresses: an answer, too.
      const isEmpty = errors.length > 0 && errors.every((error) => errnoOf(error) === 'ENODATA');
      if (isEmpty || errors.length < results.length) return this.update(results);
      problems.push(...errors);
    }
    throw new AggregateError(problems, `no addresses for ${names.join(', ')}`);
  }

  private update(results: readonly PromiseSettledResult<readonly string[]>[]): readonly HostPort[] {
    for (const [family, result] of results.entries()) {
      if (result.status === 'fulfilled') this.known[family] = result.value;
      else if (NO_ADDRESSES.includes(errnoOf(result.reason) ?? '')) this.known[family] = [];
    }
    return uniqueAddresses(this.known.flat().map((host) => ({ host, port: this.options.port })));
  }

  private async readResolvConf(signal: AbortSignal): Promise<ReturnType<typeof parseResolvConf>> {
    const text = await readFile(this.resolvConfPath, { encoding: 'utf8', signal }).catch(() => '');
    return parseResolvConf(text);
  }
}
