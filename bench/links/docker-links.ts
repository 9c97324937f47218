import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

import { AgentCluster } from '../../test/support/agent-cluster.js';
import type { AgentProcess } from '../../test/support/agent-process.js';
import type { Cleanup } from '../../test/support/cleanup.js';
import { DockerEngine } from '../../test/support/docker-engine.js';
import { DockerRegistry } from '../../test/support/docker-registry.js';
import { type BuiltImage, ImageBuilder } from '../../test/support/image-builder.js';
import { pushImage } from '../../test/support/push-image.js';
import type { BenchPart } from '../bench-part.js';
import { pullImage, removeImages } from '../engine-images.js';
import { type Figure, median } from '../figure.js';
import { type Preheated, requestPreheat } from '../preheat-request.js';
import type { Scale } from '../scale.js';
import { timed } from '../timed.js';
import { ImageCopies } from './image-copies.js';
import { LinkNetwork } from './link-network.js';

const run = promisify(execFile);

const LINK_MEGABYTES = 60;
/** Of the content: a base, what was installed on it, a large dependency, the application, and small changes between. */
const LAYER_SHARES = [0.08, 0.25, 0.01, 0.42, 0.16, 0.07, 0.01];
const FILE_BYTES = 256 * 1024;
/** Then gzip leaves some 42 % of it. */
const COMPRESSIBLE = 0.6;
const START_MS = 300_000;
/** Longer than the agent keeps what the runtime told it, so that it sees that the image is gone. */
const SETTLE_MS = 1_500;

interface Round {
  readonly cold: Preheated;
  readonly warm: Preheated;
  readonly pipedMs: number;
  readonly pullMs: number;
}

/** Node A has an image ready, node B gets it over a link of 60 MB/s: from agent to agent, and in other ways. */
export const dockerLinks: BenchPart = {
  name: 'docker-links',
  programs: ['ip', 'tc', 'dockerd', 'docker', 'docker-registry'],
  async run({ dockerImageBytes, dockerRounds }: Scale, cleanup: Cleanup): Promise<readonly Figure[]> {
    const network = await cleanup.track(LinkNetwork.create(), (it) => it.dispose());
    const hosts = [await network.addHost(), await network.addHost()] as const;
    // On the same host as node A, so that what B pulls from it comes over the same links.
    const registry = await cleanup.track(DockerRegistry.start({ place: hosts[0] }), (it) => it.stop());
    const builder = await cleanup.track(ImageBuilder.create(), (it) => it.dispose());
    const image = await push(builder, registry, dockerImageBytes);
    const reference = `${registry.host}/bench/app:1`;
    const engines: DockerEngine[] = [];
    for (const place of hosts)
      engines.push(
        await cleanup.track(DockerEngine.start({ place, insecureRegistries: [registry.host] }), (it) =>
          it.stop(),
        ),
      );
    const [from, to] = engines as [DockerEngine, DockerEngine];
    const cluster = await cleanup.track(
      AgentCluster.prepare(
        engines.map(({ host }) => ({ RUNTIME: 'docker', DOCKER_HOST: host, STORE_MAX_SIZE: '16GiB' })),
        {
          ALLOWED_REGISTRIES: registry.host,
          INSECURE_REGISTRIES: registry.host,
          INTERVAL: '1h',
          LOG_LEVEL: 'info',
        },
        hosts,
      ),
      (it) => it.dispose(),
    );
    const [giver, taker] = cluster.agents as [AgentProcess, AgentProcess];
    giver.start();
    await giver.list(reference);
    await giver.until(reference, 'ready', START_MS);
    for (const host of hosts) await host.shape(LINK_MEGABYTES * 8);

    const node = new ReceivingNode(taker, to, reference, cluster.authorization);
    const copies = new ImageCopies(from, to, hosts[1], reference);
    const fileMs = await node.without(() => copies.byFile());
    const rounds: Round[] = [];
    for (let round = 0; round < dockerRounds; round += 1) {
      await registry.forget();
      const cold = await node.preheatCold();
      const [fromRegistry] = (await registry.blobTraffic()).keys();
      if (fromRegistry !== undefined) throw new Error(`B read ${fromRegistry} from the registry`);
      const warm = await node.preheatWarm();
      const pipedMs = await node.without(() => copies.piped());
      const pullMs = await node.without(() => pullImage(to, reference));
      rounds.push({ cold, warm, pipedMs, pullMs });
    }
    return figuresOf(rounds, fileMs, image);
  },
};

async function push(
  builder: ImageBuilder,
  registry: DockerRegistry,
  contentBytes: number,
): Promise<BuiltImage> {
  const layers = LAYER_SHARES.map((share, index) => {
    const sizeBytes = Math.round(share * contentBytes);
    const files = Math.ceil(sizeBytes / FILE_BYTES);
    return { seed: `links-${index}`, sizeBytes, files, compressible: COMPRESSIBLE };
  });
  const image = await builder.image({ layers });
  await pushImage(image, registry.url, 'bench/app', ['1']);
  return image;
}

/** Node B, which forgets the image before each time. */
class ReceivingNode {
  constructor(
    private readonly agent: AgentProcess,
    private readonly engine: DockerEngine,
    private readonly reference: string,
    private readonly authorization: Readonly<Record<string, string>>,
  ) {}

  /** With nothing of it in the store. */
  async preheatCold(): Promise<Preheated> {
    const { agent } = this;
    await agent.end();
    await rm(agent.storeDirectory, { recursive: true, force: true });
    await this.forget();
    agent.start();
    await agent.wait('acquainted with the other', START_MS, async () =>
      (await agent.metric('image_preheat_peers')) === 1 ? true : undefined,
    );
    return this.preheat();
  }

  /** With all of it in the store. */
  async preheatWarm(): Promise<Preheated> {
    await this.forget();
    return this.preheat();
  }

  /** @returns how long `work`, which brings the image past the agent, took, milliseconds */
  async without(work: () => Promise<void>): Promise<number> {
    await this.forget();
    const elapsedMs = await timed(work);
    await this.engine.client.getImage(this.reference).inspect();
    return elapsedMs;
  }

  private preheat(): Promise<Preheated> {
    return requestPreheat(this.agent, this.reference, this.authorization);
  }

  /** What is still to be written of the time before is written first. */
  private async forget(): Promise<void> {
    await removeImages(this.engine);
    await run('sync');
    await delay(SETTLE_MS);
  }
}

function figuresOf(rounds: readonly Round[], fileMs: number, image: BuiltImage): Figure[] {
  const of = (time: (round: Round) => number): number => median(rounds.map(time));
  const ready = of(({ cold }) => cold.readyMs);
  const stored = of(({ cold }) => cold.storedMs);
  const load = of(({ warm }) => warm.readyMs);
  const piped = of(({ pipedMs }) => pipedMs);
  const pull = of(({ pullMs }) => pullMs);
  const layers = image.images[0]?.layers ?? [];
  const sum = (sizes: readonly number[]): string =>
    (sizes.reduce((total, size) => total + size, 0) / 1e6).toFixed(0);
  const what = `Docker node, ${LINK_MEGABYTES} MB/s link`;
  const sizes = `${sum(layers.map(({ diffSize }) => diffSize))} MB in ${layers.length} layers, ${sum(layers.map(({ size }) => size))} MB compressed`;
  return [
    {
      what: `${what}: time to ready ÷ docker save → HTTP → docker load, piped`,
      value: ready / piped,
      target: 0.45,
      gate: 0.6,
      detail: `${seconds(ready)} ÷ ${seconds(piped)}, medians of ${rounds.length}; ${sizes}`,
    },
    {
      what: `${what}: time to ready ÷ the same with the whole file first`,
      value: ready / fileMs,
      detail: `${seconds(ready)} ÷ ${seconds(fileMs)}, the latter once`,
    },
    {
      what: `${what}: time to ready ÷ docker pull from a registry over the link`,
      value: ready / pull,
      detail: `${seconds(ready)} ÷ ${seconds(pull)}`,
    },
    {
      what: `${what}: time to ready ÷ (transfer, then pull from the warm store)`,
      value: ready / (stored + load),
      detail: `${seconds(ready)} ÷ (${seconds(stored)} + ${seconds(load)})`,
    },
    {
      what: `${what}: the longer of transfer and pull ÷ both, what overlap could come to`,
      value: Math.max(stored, load) / (stored + load),
      detail: `of the same`,
    },
  ];
}

function seconds(elapsedMs: number): string {
  return `${(elapsedMs / 1000).toFixed(1)} s`;
}
