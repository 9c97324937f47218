import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { LinkNetwork } from '../../bench/links/link-network.js';
import { AgentCluster } from '../support/agent-cluster.js';
import { Cleanup } from '../support/cleanup.js';
import { expectRightBlobs, idWhenReady, IS_FULL_PROFILE } from '../support/directory-cluster.js';
import { DockerRegistry } from '../support/docker-registry.js';
import { describeWith } from '../support/engines.js';
import { survive } from '../support/fault-scene.js';
import { ImageBuilder } from '../support/image-builder.js';
import type { ProcessPlace } from '../support/process-place.js';
import { pushImage } from '../support/push-image.js';

const run = promisify(execFile);
const KIB = 1024;
const START_MS = 60_000;
/** TCP doubles its patience with each packet that is lost again: now and then a connection stands still for seconds. */
const READY_MS = 300_000;
const CASE_MS = 2 * READY_MS;
const NODES = 3;
const LOSS = 0.3;
/** Plain HTTP takes from seconds to minutes for 96 KiB over such a link. */
const LAYER_BYTES = IS_FULL_PROFILE ? 96 * KIB : 12 * KIB;

describeWith(['ip', 'iptables', 'docker-registry'], 'Faults of the network', () => {
  const cleanup = new Cleanup();
  let places: readonly ProcessPlace[];
  let registry: DockerRegistry;
  let cluster: AgentCluster;
  let reference: string;

  beforeAll(async () => {
    const network = await cleanup.track(LinkNetwork.create(), (made) => made.dispose());
    const hosts: ProcessPlace[] = [];
    for (let index = 0; index <= NODES; index += 1) hosts.push(await network.addHost());
    places = hosts;
    const [apart, ...nodes] = hosts as [ProcessPlace, ...ProcessPlace[]];
    registry = await cleanup.track(DockerRegistry.start({ place: apart }), (started) => started.stop());
    const builder = await cleanup.track(ImageBuilder.create(), (made) => made.dispose());
    const layers = ['lower', 'upper'].map((seed) => ({ seed, sizeBytes: LAYER_BYTES, compressible: 0 }));
    await pushImage(await builder.image({ layers }), registry.url, 'team/lossy', ['1']);
    reference = `${registry.host}/team/lossy:1`;
    cluster = await cleanup.track(
      AgentCluster.prepare(
        nodes.map(() => ({ RUNTIME: 'directory' })),
        { INSECURE_REGISTRIES: registry.host, API_RATE_LIMIT: '0', LOG_LEVEL: 'info' },
        nodes,
      ),
      (made) => made.dispose(),
    );
    cluster.start();
    await cluster.acquainted(START_MS);
  }, CASE_MS);
  afterAll(() => cleanup.run(), CASE_MS);

  const iptables = async ({ launcher: [command = '', ...launched] }: ProcessPlace, ...args: string[]) =>
    (await run(command, [...launched, 'iptables', ...args])).stdout;

  /** Of what reaches a node, from whomever, this part is lost from now on. */
  async function lose(part: number): Promise<void> {
    const some = ['-m', 'statistic', '--mode', 'random', '--probability', String(part)];
    for (const place of places) await iptables(place, '-A', 'INPUT', '-i', 'eth0', ...some, '-j', 'DROP');
  }

  async function lostPackets(): Promise<number> {
    const tables = await Promise.all(places.map((place) => iptables(place, '-L', 'INPUT', '-v', '-x', '-n')));
    return tables.reduce((sum, table) => sum + Number(/^\s*(\d+)\s+\d+\s+DROP/m.exec(table)?.[1]), 0);
  }

  it(
    'three packets of ten are lost on every link',
    async () => {
      await survive(`network: ${LOSS * 100} % of all packets are lost`, async () => {
        await lose(LOSS);
        await cluster.list(reference);
        await idWhenReady(cluster.agents, reference, READY_MS);
        const lost = await lostPackets();
        expect(lost).toBeGreaterThan(0);
        await expectRightBlobs(cluster.agents);
        return `ready on all nodes, later; ${lost} packets were lost`;
      });
    },
    CASE_MS,
  );
});
