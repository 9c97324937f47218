import { setTimeout as delay } from 'node:timers/promises';

import type { LinkHost } from '../../bench/links/link-host.js';
import { LinkNetwork } from '../../bench/links/link-network.js';
import type { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import type { LedgerEntry } from '../../src/demo/registry/traffic-ledger.js';
import { AgentCluster } from '../support/agent-cluster.js';
import type { AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { addImage, startDemoRegistry } from '../support/demo-images.js';
import { expectRightBlobs, idWhenReady } from '../support/directory-cluster.js';
import { describeWith } from '../support/engines.js';
import { survive } from '../support/fault-scene.js';

const MIB = 1024 * 1024;
const NODES = 3;
const LOCK_TIMEOUT_MS = 8_000;
/** Longer than its lease, and long enough for another one to take over. */
const STILL_MS = 12_000;
const READY_MS = 150_000;
const CASE_MS = 2 * READY_MS;
const EVERY_TIME = 1_000_000;

/** Each node has an address of its own, so that the registry can tell who asks. */
describeWith('ip', 'A node that stands still while it reads the registry for all', () => {
  const cleanup = new Cleanup();
  let registry: DemoRegistry;
  let cluster: AgentCluster;
  let frozen: AgentProcess;
  let others: readonly AgentProcess[];
  let frozenAddress: string;
  let image: string;

  beforeAll(async () => {
    const network = await cleanup.track(LinkNetwork.create(), (made) => made.dispose());
    const [address = ''] = network.ownAddresses;
    // Slow enough that whoever takes over is still at it when the first one wakes.
    registry = await startDemoRegistry(cleanup, { address, bandwidthBytesPerSecond: MIB / 2 });
    await addImage(registry, 'team/app', 3 * MIB);
    image = `${registry.host}/team/app:1.0`;
    const hosts: LinkHost[] = [];
    while (hosts.length < NODES) hosts.push(await network.addHost());
    frozenAddress = hosts[0]?.address ?? '';
    const settings = {
      INSECURE_REGISTRIES: registry.host,
      K8S_LOCK_TIMEOUT: `${LOCK_TIMEOUT_MS}ms`,
      API_RATE_LIMIT: '0',
    };
    cluster = await cleanup.track(
      AgentCluster.prepare(
        hosts.map(() => ({ RUNTIME: 'directory' })),
        settings,
        hosts,
      ),
      (made) => made.dispose(),
    );
    const [first, ...rest] = cluster.agents;
    frozen = first!;
    others = rest;
    cluster.start();
    await cluster.acquainted(READY_MS);
  }, CASE_MS);
  afterAll(() => cleanup.run(), CASE_MS);

  const askedBy = (isFrozen: boolean): readonly LedgerEntry[] =>
    registry.ledger.requests.filter(({ client }) => (client === frozenAddress) === isFrozen);
  const holder = async (): Promise<string | undefined> => (await cluster.lockHolders()).get(image);

  it(
    'is replaced, and reads no more when it wakes, whatever it had begun',
    async () => {
      await survive(`nodes: the lock holder stands still for ${STILL_MS / 1000} s`, async () => {
        const blobs = /^GET .*\/blobs\//;
        // What it reads breaks off while it stands still: the first thing it sees when it wakes is that it has to ask again.
        registry.faults.add(blobs, { kind: 'cut', afterBytes: MIB / 4 }, EVERY_TIME, frozenAddress);
        await frozen.list(image);
        await frozen.wait('in the midst of reading', READY_MS, async () =>
          (await holder()) === frozen.node && askedBy(true).some(({ path }) => path.includes('/blobs/'))
            ? true
            : undefined,
        );
        process.kill(frozen.pid, 'SIGSTOP');
        const still = delay(STILL_MS);
        await Promise.all(others.map((agent) => agent.list(image)));
        const [other] = others as [AgentProcess];
        await other.wait('another holder, at work', READY_MS, async () => {
          const now = await holder();
          return now !== undefined && now !== frozen.node && askedBy(false).length > 0 ? true : undefined;
        });
        await still;
        // From here on it would get what it asks for.
        registry.faults.clear();
        const before = askedBy(true).length;
        process.kill(frozen.pid, 'SIGCONT');
        await idWhenReady(cluster.agents, image, READY_MS);
        expect(askedBy(true).slice(before)).toEqual([]);
        await expectRightBlobs(cluster.agents);
        return 'replaced; asked the registry for nothing more; ready on all nodes';
      });
    },
    CASE_MS,
  );
});
