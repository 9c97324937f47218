import { setTimeout as delay } from 'node:timers/promises';

import type { LinkHost } from '../../bench/links/link-host.js';
import { LinkNetwork } from '../../bench/links/link-network.js';
import type { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import { formatAddress } from '../../src/peers/peer-address.js';
import { AgentCluster } from '../support/agent-cluster.js';
import type { AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { addImage, sentBytes, startDemoRegistry } from '../support/demo-images.js';
import { expectRightBlobs, idWhenReady } from '../support/directory-cluster.js';
import { describeWith } from '../support/engines.js';
import { survive } from '../support/fault-scene.js';

const MIB = 1024 * 1024;
const READY_MS = 150_000;
const CASE_MS = 2 * READY_MS;
/** Peers are looked for every second. */
const LOOK_UPS_MS = 3_000;

describeWith('ip', 'Networks with IPv6', () => {
  let cleanup: Cleanup;

  beforeEach(() => {
    cleanup = new Cleanup();
  });
  afterEach(() => cleanup.run(), CASE_MS);

  async function prepare(
    network: LinkNetwork,
    registry: DemoRegistry,
    own: readonly Readonly<Record<string, string>>[],
  ): Promise<{ agents: readonly AgentProcess[]; cluster: AgentCluster; addresses: (readonly string[])[] }> {
    const hosts: LinkHost[] = [];
    while (hosts.length < own.length) hosts.push(await network.addHost());
    const shared = { RUNTIME: 'directory', INSECURE_REGISTRIES: registry.host, API_RATE_LIMIT: '0' };
    const cluster = await cleanup.track(AgentCluster.prepare(own, shared, hosts), (made) => made.dispose());
    return { agents: cluster.agents, cluster, addresses: hosts.map((host) => host.addresses) };
  }

  async function expectOneDownload(
    agents: readonly AgentProcess[],
    registry: DemoRegistry,
    image: string,
    uniqueBytes: number,
  ): Promise<void> {
    await idWhenReady(agents, image, READY_MS);
    expect(sentBytes(registry)).toBe(uniqueBytes);
    await expectRightBlobs(agents);
  }

  /** Everyone knows all the others, and nobody twice. */
  async function expectPeers(agents: readonly AgentProcess[]): Promise<void> {
    for (const agent of agents)
      await agent.wait(`${agents.length - 1} peers`, READY_MS, async () =>
        (await agent.metric('image_preheat_peers')) === agents.length - 1 ? true : undefined,
      );
  }

  it(
    'and nothing else: registry, peers and lock are reached by it',
    async () => {
      await survive('network: IPv6 alone', async () => {
        const network = await cleanup.track(LinkNetwork.create(['ipv6']), (made) => made.dispose());
        const [address = ''] = network.ownAddresses;
        const registry = await startDemoRegistry(cleanup, { address });
        const uniqueBytes = await addImage(registry, 'team/app', 4 * MIB);
        const image = `${registry.host}/team/app:1.0`;
        // One listens on all addresses there are, and finds out by itself at which it can be reached.
        const { agents, cluster } = await prepare(network, registry, [{}, {}, { HOST: '[::]', POD_IP: '' }]);
        await cluster.list(image);
        cluster.start();
        await expectOneDownload(agents, registry, image, uniqueBytes);
        await expectPeers(agents);
        return 'ready on all nodes; the registry sends each byte once';
      });
    },
    CASE_MS,
  );

  it(
    'beside IPv4: an agent is one peer, at however many addresses it is found',
    async () => {
      await survive('network: IPv4 and IPv6', async () => {
        const network = await cleanup.track(LinkNetwork.create(['ipv4', 'ipv6']), (made) => made.dispose());
        const [, address = ''] = network.ownAddresses;
        const registry = await startDemoRegistry(cleanup, { address });
        const uniqueBytes = await addImage(registry, 'team/app', 4 * MIB);
        const image = `${registry.host}/team/app:1.0`;
        const { agents, cluster, addresses } = await prepare(network, registry, [
          { HOST: '::' },
          { HOST: '::' },
        ]);
        const known = agents.flatMap(({ port }, index) =>
          [...(addresses[index] ?? []), `::ffff:${addresses[index]?.[0] ?? ''}`].map((host) =>
            formatAddress({ host, port }),
          ),
        );
        for (const [index, agent] of agents.entries()) {
          agent.set('PEERS', known.join(','));
          agent.set('POD_IP', addresses[index]?.[index] ?? '');
        }
        await cluster.list(image);
        cluster.start();
        await expectOneDownload(agents, registry, image, uniqueBytes);
        await expectPeers(agents);
        // Every address has been asked by now.
        await delay(LOOK_UPS_MS);
        await expectPeers(agents);
        return 'one peer at three addresses; ready on both';
      });
    },
    CASE_MS,
  );
});
