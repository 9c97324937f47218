import type { LinkHost } from '../../bench/links/link-host.js';
import { LinkNetwork } from '../../bench/links/link-network.js';
import type { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import { AgentCluster } from '../support/agent-cluster.js';
import type { AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { addImage, startDemoRegistry } from '../support/demo-images.js';
import { expectRightBlobs, idWhenReady } from '../support/directory-cluster.js';
import { describeWith } from '../support/engines.js';
import { survive } from '../support/fault-scene.js';

const MIB = 1024 * 1024;
const NODES = 3;
const READY_MS = 150_000;
const CASE_MS = 2 * READY_MS;
const EVERY_TIME = 1_000_000;

/** Each node has an address of its own: what comes to one of them slowly comes to the others as it should. */
describeWith('ip', 'A registry that sends a byte a second to the node that reads it for all', () => {
  const cleanup = new Cleanup();
  let registry: DemoRegistry;
  let cluster: AgentCluster;
  let slow: AgentProcess;
  let others: readonly AgentProcess[];
  let slowAddress: string;
  const listed: string[] = [];

  beforeAll(async () => {
    const network = await cleanup.track(LinkNetwork.create(), (made) => made.dispose());
    const [address = ''] = network.ownAddresses;
    // Without the digest in a header, what a tag means is only known when its manifest is there.
    registry = await startDemoRegistry(cleanup, { address, tellsDigest: false });
    const hosts: LinkHost[] = [];
    while (hosts.length < NODES) hosts.push(await network.addHost());
    slowAddress = hosts[0]?.address ?? '';
    cluster = await cleanup.track(
      AgentCluster.prepare(
        hosts.map(() => ({ RUNTIME: 'directory' })),
        {
          INSECURE_REGISTRIES: registry.host,
          K8S_LOCK_TIMEOUT: '8s',
          PULLING_TIMEOUT: '5s',
          API_RATE_LIMIT: '0',
        },
        hosts,
      ),
      (made) => made.dispose(),
    );
    const [first, ...rest] = cluster.agents;
    slow = first!;
    others = rest;
    cluster.start();
    await cluster.acquainted(READY_MS);
  }, CASE_MS);
  afterAll(() => cleanup.run(), CASE_MS);

  it.each([
    ['the manifest', /^GET .*\/manifests\//, 0],
    ['a layer', /^GET .*\/blobs\//, 100_000],
  ])(
    '%s: it loses the lock, another one reads, and all become ready',
    async (what, pattern, afterBytes) => {
      await survive(`registry: ${what} trickles to the lock holder`, async () => {
        const name = `trickled-${listed.length}`;
        await addImage(registry, `team/${name}`, 2 * MIB + listed.length);
        const image = `${registry.host}/team/${name}:1.0`;
        registry.faults.clear();
        registry.faults.add(pattern, { kind: 'trickle', afterBytes }, EVERY_TIME, slowAddress);
        listed.push(image);
        await slow.list(...listed);
        await slow.wait('the lock holder', READY_MS, async () =>
          (await cluster.lockHolders()).get(image) === slow.node ? true : undefined,
        );
        await Promise.all(others.map((agent) => agent.list(...listed)));
        const { message = '' } = await slow.wait('said', READY_MS, async () =>
          (await slow.images()).find((status) => status.image === image && status.reason === 'timeout'),
        );
        await idWhenReady(cluster.agents, image, READY_MS);
        expect(await slow.metric('image_preheat_lock_held')).toBe(0);
        await expectRightBlobs(cluster.agents);
        return `timeout: "${message}"; another node reads, ready on all nodes`;
      });
    },
    CASE_MS,
  );
});
