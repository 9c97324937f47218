import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { type LinkEnd, LinkHost } from './link-host.js';

const run = promisify(execFile);

/** That of most nodes; a machine may have another one, with which the figures would be others. */
const CONGESTION_CONTROL = 'cubic';
const BRIDGE = 'bridge';
/** Of the last byte of an address. */
const OWN_NUMBER = 254;

export type AddressFamily = 'ipv4' | 'ipv6';

/**
 * Hosts on one switch, each in a network namespace of its own behind its own link. The switch is a bridge in one more
 * namespace, and this process has an unshaped link to it. IPv4 addresses are of the range for benchmarks (RFC 2544), IPv6
 * ones unique local (RFC 4193).
 */
export class LinkNetwork {
  private readonly name = `links${process.pid}`;
  private readonly hub = `${this.name}-hub`;
  private readonly namespaces: string[] = [];

  private constructor(private readonly families: readonly AddressFamily[]) {
    // Made by `create` alone.
  }

  /** Needs root. */
  static async create(families: readonly AddressFamily[] = ['ipv4']): Promise<LinkNetwork> {
    const network = new LinkNetwork(families);
    try {
      await network.addHub();
    } catch (error) {
      await network.dispose();
      throw error;
    }
    return network;
  }

  /** This process's own, one of each family. */
  get ownAddresses(): readonly string[] {
    return this.addressesOf(OWN_NUMBER);
  }

  /** Its link is as fast as the machine until it is shaped. */
  async addHost(): Promise<LinkHost> {
    const number = this.namespaces.length;
    const inner = { namespace: `${this.name}-${number}`, device: 'eth0' };
    const outer = { namespace: this.hub, device: `port${number}` };
    await this.addNamespace(inner.namespace);
    await this.connect(outer, ['netns', inner.namespace, 'name', inner.device]);
    const addresses = this.addressesOf(number);
    await ip('-n', inner.namespace, 'link', 'set', inner.device, 'up');
    await this.address(['-n', inner.namespace], inner.device, addresses);
    if (this.families.includes('ipv4')) {
      const route = [`${ipv4Network()}0/24`, 'dev', inner.device, 'congctl', CONGESTION_CONTROL];
      await ip('-n', inner.namespace, 'route', 'replace', ...route);
    }
    return new LinkHost(addresses, inner, outer);
  }

  /** Whatever runs in it has ended before. */
  async dispose(): Promise<void> {
    // A link goes with its namespace a moment later; this end would be in the way of the next network until then.
    await ip('link', 'delete', this.name).catch(() => undefined);
    const results = await Promise.allSettled(
      this.namespaces.map((namespace) => ip('netns', 'delete', namespace)),
    );
    this.namespaces.length = 0;
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  private async addHub(): Promise<void> {
    await this.addNamespace(this.hub);
    await ip('-n', this.hub, 'link', 'add', BRIDGE, 'type', 'bridge');
    await ip('-n', this.hub, 'link', 'set', BRIDGE, 'up');
    await this.connect({ namespace: this.hub, device: 'bench' }, ['netns', '1', 'name', this.name]);
    await ip('link', 'set', this.name, 'up');
    await this.address([], this.name, this.ownAddresses);
  }

  private addressesOf(number: number): string[] {
    return this.families.map((family) =>
      family === 'ipv4' ? `${ipv4Network()}${number}` : `${ipv6Network()}${number.toString(16)}`,
    );
  }

  private async address(
    where: readonly string[],
    device: string,
    addresses: readonly string[],
  ): Promise<void> {
    for (const address of addresses) {
      // Nobody else can have it, and it is to be good at once.
      const how = address.includes(':') ? [`${address}/64`, 'nodad'] : [`${address}/24`];
      await ip(...where, 'address', 'add', ...how, 'dev', device);
    }
  }

  private async addNamespace(namespace: string): Promise<void> {
    await ip('netns', 'add', namespace);
    this.namespaces.push(namespace);
    await ip('-n', namespace, 'link', 'set', 'lo', 'up');
  }

  /** A link from the switch to where `peer` says. */
  private async connect({ namespace, device }: LinkEnd, peer: readonly string[]): Promise<void> {
    await ip('-n', namespace, 'link', 'add', device, 'type', 'veth', 'peer', ...peer);
    await ip('-n', namespace, 'link', 'set', device, 'master', BRIDGE, 'up');
  }
}

function ipv4Network(): string {
  return `198.18.${process.pid % 256}.`;
}

function ipv6Network(): string {
  return `fd00:0:0:${(process.pid % 0xffff).toString(16)}::`;
}

async function ip(...args: string[]): Promise<void> {
  await run('ip', args);
}
