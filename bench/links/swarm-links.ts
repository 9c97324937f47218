import { chunkCountOf } from '../../src/domain/chunk-map.js';
import type { Cleanup } from '../../test/support/cleanup.js';
import { DockerRegistry } from '../../test/support/docker-registry.js';
import { type BuiltImage, ImageBuilder } from '../../test/support/image-builder.js';
import { pushImage } from '../../test/support/push-image.js';
import type { BenchPart } from '../bench-part.js';
import type { Figure } from '../figure.js';
import type { Scale } from '../scale.js';
import { transferBoundMs } from '../transfer-bound.js';
import { type LinkHost } from './link-host.js';
import { LinkNetwork } from './link-network.js';
import { everyoneFromRegistry, hostByHost } from './plain-copies.js';
import type { RunningNode } from './running-node.js';
import { runSwarm, type SwarmResult, type Trouble } from './swarm-run.js';

const NODES = 8;
const LINK_MEGABITS = 100;
const BYTES_PER_SECOND = (LINK_MEGABITS * 1e6) / 8;
const SLOWDOWN = 10;
const REPOSITORY = 'bench/links';
/** What prom-client's monitor measures are the times between two ticks of this; the rest of them is delay. */
const MONITOR_TICK_MS = 10;

interface Scenario {
  readonly name: string;
  readonly layers: number;
  /** Left out of a short run. */
  readonly isExtra?: boolean;
  readonly trouble?: Trouble;
  readonly slowest?: { readonly target: number; readonly gate: number };
  readonly registry?: { readonly target: number; readonly gate: number };
}

const CLEAN = { slowest: { target: 1.25, gate: 1.5 }, registry: { target: 1, gate: 1 } };
const IN_TROUBLE = { slowest: { target: 1.5, gate: 2 } };
const killAtHalf = async (node: RunningNode): Promise<void> => {
  await node.has(0.5);
  await node.agent.end('SIGKILL');
};
const SCENARIOS: readonly Scenario[] = [
  { name: '1 layer', layers: 1, ...CLEAN },
  { name: '8 layers', layers: 8, isExtra: true, ...CLEAN },
  {
    name: 'a node killed at 50 %',
    layers: 1,
    isExtra: true,
    trouble: { meets: 'another node', happen: killAtHalf },
    ...IN_TROUBLE,
  },
  {
    name: `a link ${SLOWDOWN} times slower`,
    layers: 1,
    isExtra: true,
    trouble: {
      meets: 'another node',
      happen: ({ host }) => host.shape(LINK_MEGABITS / SLOWDOWN),
    },
    ...IN_TROUBLE,
  },
  {
    name: 'lock holder killed at 50 %',
    layers: 1,
    trouble: { meets: 'the lock holder', happen: killAtHalf },
    registry: { target: 1.05, gate: 1.1 },
  },
];

/** Agents behind links of 100 Mbit/s each way, a registry behind another one: how long an image takes to all of them. */
export const swarmLinks: BenchPart = {
  name: 'swarm-links',
  programs: ['ip', 'tc', 'docker-registry'],
  async run(
    { sharedImageBytes, allSharings, copiedBytes }: Scale,
    cleanup: Cleanup,
  ): Promise<readonly Figure[]> {
    const network = await cleanup.track(LinkNetwork.create(), (it) => it.dispose());
    const place = await network.addHost();
    const hosts: LinkHost[] = [];
    for (let number = 0; number < NODES; number += 1) hosts.push(await network.addHost());
    const registry = await cleanup.track(DockerRegistry.start({ place }), (it) => it.stop());
    const builder = await cleanup.track(ImageBuilder.create(), (it) => it.dispose());
    const images = new Map<number, BuiltImage>();
    const scenarios = SCENARIOS.filter(({ isExtra }) => allSharings || isExtra !== true);
    for (const layers of new Set(scenarios.map((scenario) => scenario.layers)))
      images.set(layers, await push(builder, registry, layers, sharedImageBytes));
    const small = await push(builder, registry, 0, copiedBytes);

    const figures: Figure[] = [];
    for (const scenario of scenarios) {
      const image = images.get(scenario.layers);
      if (!image) throw new Error(`no image for ${scenario.name}`);
      for (const host of [place, ...hosts]) await host.shape(LINK_MEGABITS);
      const reference = `${registry.host}/${REPOSITORY}:${scenario.layers}`;
      const { trouble } = scenario;
      const result = await runSwarm({ hosts, registry, reference, trouble }, cleanup);
      figures.push(...figuresOf(scenario, image, result));
      console.error(describe(scenario, image, result));
    }
    return [...figures, ...(await plainCopies(hosts, registry, small, cleanup))];
  },
};

/** An image of so many equal layers, tagged with their number; 0 for the one that is copied. */
async function push(
  builder: ImageBuilder,
  registry: DockerRegistry,
  layers: number,
  sizeBytes: number,
): Promise<BuiltImage> {
  const count = Math.max(1, layers);
  const image = await builder.image({
    layers: Array.from({ length: count }, (_, index) => ({
      seed: `${layers}-${index}`,
      sizeBytes: Math.floor(sizeBytes / count),
      compressible: 0,
      compression: 'none',
      files: 1,
    })),
  });
  await pushImage(image, registry.url, REPOSITORY, [String(layers)]);
  return image;
}

/** What is moved of an image: everything but the manifest. */
function contentOf({ blobs, root }: BuiltImage): { bytes: number; chunks: number } {
  const content = blobs.filter(({ digest }) => digest !== root.digest);
  return {
    bytes: content.reduce((sum, { size }) => sum + size, 0),
    chunks: content.reduce((sum, { size }) => sum + chunkCountOf(size), 0),
  };
}

function figuresOf(
  { name, slowest, registry }: Scenario,
  image: BuiltImage,
  { slowestMs, nodes, registryBytes }: SwarmResult,
): Figure[] {
  const content = contentOf(image);
  const boundMs = transferBoundMs(NODES, content, BYTES_PER_SECOND);
  const received = registryBytes + nodes.reduce((sum, node) => sum + node.receivedBytes, 0);
  const cpuSeconds = nodes.reduce((sum, node) => sum + node.cpuSeconds, 0);
  const where = `${NODES} nodes, ${LINK_MEGABITS} Mbit/s, ${(content.bytes / 1e6).toFixed(0)} MB, ${name}`;
  return [
    {
      what: `slowest node ÷ T_LB, ${where}`,
      value: slowestMs / boundMs,
      ...slowest,
      detail: `${seconds(slowestMs)} ÷ ${seconds(boundMs)}`,
    },
    {
      what: `blob bytes leaving the registry ÷ unique blob bytes, ${where}`,
      value: registryBytes / content.bytes,
      ...registry,
      detail: `${registryBytes} ÷ ${content.bytes} bytes`,
    },
    {
      what: `CPU-s per GB received, ${where}`,
      value: (cpuSeconds * 1e9) / received,
      detail: `${cpuSeconds.toFixed(1)} s, sending included, on ${nodes.length} nodes together`,
    },
    {
      what: `peak RSS of one node, ${where}`,
      value: Math.max(...nodes.map(({ peakMiB }) => peakMiB)),
      unit: 'MiB',
      detail: `the highest of ${nodes.length}`,
    },
    {
      what: `event-loop delay p99 of one node, ${where}`,
      value: Math.max(...nodes.map(({ tickP99Ms }) => tickP99Ms)) - MONITOR_TICK_MS,
      unit: 'ms',
      detail: `the highest of ${nodes.length}, which share the processors of this machine`,
    },
  ];
}

/** What each node sent and received, in sizes of the image. */
function describe({ name }: Scenario, image: BuiltImage, { nodes, holder }: SwarmResult): string {
  const { bytes } = contentOf(image);
  const lines = nodes.map(({ node, durationMs, sentBytes, receivedBytes }) => {
    const role = node === holder ? ' (lock holder)' : '';
    const sent = (sentBytes / bytes).toFixed(2);
    return `  ${node}${role}: ${seconds(durationMs)}, sent ${sent}, received ${(receivedBytes / bytes).toFixed(2)}`;
  });
  return [`swarm-links, ${name}; bytes in sizes of the image:`, ...lines].join('\n');
}

async function plainCopies(
  hosts: readonly LinkHost[],
  registry: DockerRegistry,
  image: BuiltImage,
  cleanup: Cleanup,
): Promise<Figure[]> {
  const content = contentOf(image);
  const boundMs = transferBoundMs(NODES, content, BYTES_PER_SECOND);
  const [layer] = image.images[0]?.layers ?? [];
  const url = `${registry.url}/v2/${REPOSITORY}/blobs/${layer?.digest ?? ''}`;
  const directMs = await everyoneFromRegistry(hosts, [url], cleanup);
  const chainMs = await hostByHost(hosts, url, cleanup);
  const where = `${NODES} nodes, ${(content.bytes / 1e6).toFixed(0)} MB`;
  const detail = (elapsedMs: number): string => `${seconds(elapsedMs)} ÷ ${seconds(boundMs)}; no swarm`;
  return [
    {
      what: `everyone from the registry ÷ T_LB, ${where}`,
      value: directMs / boundMs,
      detail: detail(directMs),
    },
    {
      what: `whole image from node to node ÷ T_LB, ${where}`,
      value: chainMs / boundMs,
      detail: detail(chainMs),
    },
  ];
}

function seconds(elapsedMs: number): string {
  return `${(elapsedMs / 1000).toFixed(1)} s`;
}
