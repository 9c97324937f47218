import { Resolver } from 'node:dns/promises';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { DnsDiscovery } from '../../src/peers/dns/dns-discovery.js';
import { StaticDiscovery } from '../../src/peers/static/static-discovery.js';
import { FakeDns } from '../support/fake-dns.js';
import { describePeerDiscovery } from './peer-discovery.contract.js';

const PORT = 8080;
const SERVICE = 'peers.preheat.svc.cluster.local';
const { signal } = new AbortController();

describe('dns discovery', () => {
  let dns: FakeDns;
  let directory: string;

  function discoveryOf(serviceName: string): DnsDiscovery {
    return new DnsDiscovery({
      serviceName,
      port: PORT,
      resolvConfPath: join(directory, 'resolv.conf'),
      makeResolver: () => {
        const resolver = new Resolver({ timeout: 500, tries: 1 });
        resolver.setServers([dns.server]);
        return resolver;
      },
    });
  }

  beforeEach(async () => {
    dns = await FakeDns.start();
    directory = await mkdtemp(join(tmpdir(), 'preheat-dns-'));
    await writeFile(
      join(directory, 'resolv.conf'),
      'search preheat.svc.cluster.local svc.cluster.local\noptions ndots:5\n',
    );
  });
  afterEach(async () => {
    await dns.stop();
    await rm(directory, { recursive: true });
  });

  describePeerDiscovery(() =>
    Promise.resolve({
      discovery: discoveryOf(SERVICE),
      port: PORT,
      publish: (hosts) => dns.hosts.set(SERVICE, hosts),
      fail: () => {
        dns.broken.add(4).add(6);
      },
      dispose: () => Promise.resolve(),
    }),
  );

  it('looks below the search domains for a name that is not fully qualified', async () => {
    dns.hosts.set(SERVICE, ['10.0.0.1']);
    expect(await discoveryOf('peers').list(signal)).toEqual([{ host: '10.0.0.1', port: PORT }]);
    expect(await discoveryOf('peers.preheat').list(signal)).toEqual([{ host: '10.0.0.1', port: PORT }]);
  });

  it('asks once per family for a full name', async () => {
    dns.hosts.set(SERVICE, ['10.0.0.1']);
    await discoveryOf(SERVICE).list(signal);
    expect(dns.asked).toEqual([SERVICE, SERVICE]);
  });

  it.each([
    [4, ['10.0.0.1'], ['fd00::1'], ['fd00::2']],
    [6, ['fd00::1'], ['10.0.0.1'], ['10.0.0.2']],
  ] as const)(
    'keeps the addresses of IPv%d while they cannot be asked for',
    async (family, kept, before, after) => {
      const discovery = discoveryOf(SERVICE);
      const hosts = async (): Promise<string[]> =>
        (await discovery.list(signal)).map(({ host }) => host).sort();
      dns.hosts.set(SERVICE, [...kept, ...before]);
      expect(await hosts()).toEqual([...kept, ...before].sort());
      dns.broken.add(family);
      dns.hosts.set(SERVICE, after);
      expect(await hosts()).toEqual([...kept, ...after].sort());
      dns.broken.clear();
      expect(await hosts()).toEqual(after);
    },
  );

  it('takes a name without addresses for an empty list, and a name that is not there for a failure', async () => {
    dns.hosts.set(SERVICE, []);
    expect(await discoveryOf(SERVICE).list(signal)).toEqual([]);
    dns.hosts.clear();
    await expect(discoveryOf(SERVICE).list(signal)).rejects.toThrow('no addresses for');
  });
});

describe('static discovery', () => {
  describePeerDiscovery(() => {
    let hosts: readonly string[] = [];
    let failing = false;
    const lookup = () =>
      failing
        ? Promise.reject(new Error('ENOTFOUND'))
        : Promise.resolve(hosts.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })));
    return Promise.resolve({
      discovery: new StaticDiscovery([{ host: 'agents.example', port: PORT }], lookup),
      port: PORT,
      publish: (next) => {
        hosts = next;
      },
      fail: () => {
        failing = true;
      },
      dispose: () => Promise.resolve(),
    });
  });

  it('takes IP addresses as they are, and leaves out a name that cannot be resolved', async () => {
    const peers = ['10.0.0.1', 'gone.example', 'fd00:0::1'].map((host) => ({ host, port: PORT }));
    const discovery = new StaticDiscovery(peers, () => Promise.reject(new Error('ENOTFOUND')));
    expect(await discovery.list(signal)).toEqual([
      { host: '10.0.0.1', port: PORT },
      { host: 'fd00::1', port: PORT },
    ]);
  });

  it('keeps the addresses of a name that cannot be resolved for now', async () => {
    const answers = new Map([
      ['a.example', '10.0.0.1'],
      ['b.example', '10.0.0.2'],
    ]);
    const lookup = (host: string) => {
      const address = answers.get(host);
      return address === undefined
        ? Promise.reject(new Error('EAI_AGAIN'))
        : Promise.resolve([{ address, family: 4 }]);
    };
    const peers = [...answers.keys()].map((host) => ({ host, port: PORT }));
    const discovery = new StaticDiscovery(peers, lookup);
    const both = await discovery.list(signal);
    expect(both).toHaveLength(2);
    answers.delete('a.example');
    expect(await discovery.list(signal)).toEqual(both);
  });

  it('is empty without PEERS', async () => {
    expect(await new StaticDiscovery([]).list(signal)).toEqual([]);
  });
});
