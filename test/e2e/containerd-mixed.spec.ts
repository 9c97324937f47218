import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { AgentCluster } from '../support/agent-cluster.js';
import { Cleanup } from '../support/cleanup.js';
import { ContainerdEngine } from '../support/containerd-engine.js';
import { DockerEngine } from '../support/docker-engine.js';
import { DockerRegistry } from '../support/docker-registry.js';
import { canCreate, loadImage } from '../support/engine-images.js';
import { describeUnless, missingEngine } from '../support/engines.js';
import { type BuiltImage, ImageBuilder } from '../support/image-builder.js';
import { newerDocker } from '../support/newer-docker.js';
import { pushImage } from '../support/push-image.js';

const MIB = 1024 * 1024;
const LAYERS = 4;
const READY_MS = 180_000;

interface PushedImage {
  readonly image: BuiltImage;
  readonly reference: string;
}

const newer = newerDocker();
const missing = (['containerd', 'dockerd', 'docker-registry', 'curl'] as const).flatMap(
  (engine) => missingEngine(engine) ?? [],
);
if ('missing' in newer) missing.push(newer.missing);

describeUnless(missing[0], 'Two containerd nodes and a Docker node of each image store', () => {
  const cleanup = new Cleanup();
  let registry: DockerRegistry;
  let builder: ImageBuilder;
  /** Keeps no layer that it has unpacked. */
  let discarding: ContainerdEngine;
  let keeping: ContainerdEngine;
  let classic: DockerEngine;
  let modern: DockerEngine;
  let cluster: AgentCluster;
  const listed: string[] = [];
  /** On one node before its agent. */
  let pulled: PushedImage;
  let dropped: PushedImage;

  beforeAll(async () => {
    registry = await cleanup.track(DockerRegistry.start(), (started) => started.stop());
    builder = await cleanup.track(ImageBuilder.create(), (started) => started.dispose());
    [discarding, keeping] = await Promise.all(
      [true, false].map((discardUnpackedLayers) =>
        cleanup.track(ContainerdEngine.start({ discardUnpackedLayers }), (engine) => engine.stop()),
      ) as [Promise<ContainerdEngine>, Promise<ContainerdEngine>],
    );
    [classic, modern] = await Promise.all(
      [{}, { ...newer, containerdStore: true }].map((options) =>
        cleanup.track(DockerEngine.start(options), (engine) => engine.stop()),
      ) as [Promise<DockerEngine>, Promise<DockerEngine>],
    );
    cluster = await cleanup.track(
      AgentCluster.prepare([
        { RUNTIME: 'containerd', CONTAINERD_ADDRESS: discarding.socketPath },
        { RUNTIME: 'containerd', CONTAINERD_ADDRESS: keeping.socketPath },
        { RUNTIME: 'docker', DOCKER_HOST: classic.host },
        { RUNTIME: 'docker', DOCKER_HOST: modern.host },
      ]),
      (started) => started.dispose(),
    );
    pulled = await push('pulled-before');
    await keeping.cri.pull(pulled.reference);
    dropped = await push('dropped-before');
    await discarding.cri.pull(dropped.reference);
    await collectGarbage(dropped.reference);
    cluster.start();
  }, READY_MS);

  afterAll(() => cleanup.run(), 60_000);

  async function push(name: string): Promise<PushedImage> {
    const layers = Array.from({ length: LAYERS }, (_, index) => ({
      seed: `${name}-${index}`,
      sizeBytes: 8 * MIB,
      compressible: 0.2,
    }));
    const image = await builder.image({ layers, label: name });
    await pushImage(image, registry.url, `team/${name}`, ['1']);
    await registry.forget();
    return { image, reference: `${registry.host}/team/${name}:1` };
  }

  async function readyEverywhere(reference: string, image: BuiltImage): Promise<void> {
    for (const agent of cluster.agents) await agent.until(reference, 'ready', READY_MS);
    const { digest: id } = image.images[0]!.config;
    for (const engine of [discarding, keeping]) {
      expect(await engine.cri.status(reference)).toMatchObject({ id, repoTags: [reference] });
      await engine.ctr(['containers', 'create', reference, 'probe', '/none']);
      await engine.ctr(['containers', 'rm', 'probe']);
    }
    expect((await classic.client.getImage(reference).inspect()).Id).toBe(id);
    expect((await modern.client.getImage(reference).inspect()).Id).toBe(image.root.digest);
    for (const engine of [classic, modern]) expect(await canCreate(engine, reference)).toBe(true);
  }

  /** containerd removes what it need not keep some time after it may, and at once when a name goes and somebody waits. */
  async function collectGarbage(reference: string): Promise<void> {
    await discarding.ctr(['images', 'tag', reference, 'registry.example/other:1']);
    await discarding.ctr(['images', 'rm', '--sync', 'registry.example/other:1']);
  }

  async function layerBytes(image: BuiltImage): Promise<readonly (number | undefined)[]> {
    const traffic = await registry.blobTraffic();
    return image.images[0]!.layers.map(({ digest }) => traffic.get(digest)?.bytes);
  }

  it(
    'make an image ready on all four while the registry sends each blob once',
    async () => {
      const { image, reference } = await push('together');
      listed.push(reference);
      await cluster.list(...listed);
      await readyEverywhere(reference, image);
      expect(await layerBytes(image)).toEqual(image.images[0]!.layers.map(({ size }) => size));
    },
    READY_MS,
  );

  it(
    'have it from a containerd that keeps no layers, while the registry is down',
    async () => {
      const { image, reference } = await push('discarded');
      const [first] = cluster.agents;
      await first!.list(...listed, reference);
      await first!.until(reference, 'ready', READY_MS);
      await collectGarbage(reference);
      const blobs = await discarding.ctr(['content', 'ls', '--quiet']);
      for (const { digest } of image.images[0]!.layers) expect(blobs).not.toContain(digest);
      await registry.pause();
      listed.push(reference);
      await cluster.list(...listed);
      await readyEverywhere(reference, image);
      await registry.resume();
    },
    READY_MS,
  );

  it(
    "have it from a containerd's own blobs where no store has it, and no layer leaves the registry",
    async () => {
      const { image, reference } = pulled;
      await registry.forget();
      listed.push(reference);
      const [, second] = cluster.agents;
      await second!.list(...listed);
      expect((await second!.until(reference, 'ready', READY_MS)).bytesTotal).toBe(0);
      await cluster.list(...listed);
      await readyEverywhere(reference, image);
      expect(await layerBytes(image)).toEqual(image.images[0]!.layers.map(() => undefined));
    },
    READY_MS,
  );

  it(
    'have it from the registry, once, where the only runtime with it has dropped its layers',
    async () => {
      const { image, reference } = dropped;
      await registry.forget();
      listed.push(reference);
      const [first] = cluster.agents;
      await first!.list(...listed);
      await first!.until(reference, 'ready', READY_MS);
      const answer = await first!.get(downloadPath(reference), cluster.authorization);
      expect(answer.status).toBe(404);
      expect(await answer.json()).toMatchObject({ code: 'NOT_FOUND' });
      await cluster.list(...listed);
      await readyEverywhere(reference, image);
      expect(await layerBytes(image)).toEqual(image.images[0]!.layers.map(({ size }) => size));
    },
    READY_MS,
  );

  it(
    'give it for download as a tar that docker load and ctr images import take, from runtime and from store',
    async () => {
      const user = await cleanup.track(DockerEngine.start(), (engine) => engine.stop());
      const [reference, runtimeOnly] = [listed[0]!, listed[2]!];
      for (const name of [reference, runtimeOnly]) {
        const file = join(user.directory, 'image.tar');
        const { Authorization } = cluster.authorization;
        const url = `${cluster.agents[1]!.url}${downloadPath(name)}`;
        await promisify(execFile)('curl', [
          ...['--silent', '--show-error', '--fail', '--output', file],
          ...['-H', `Authorization: ${Authorization}`, url],
        ]);
        await loadImage(user, file);
        expect(await canCreate(user, name)).toBe(true);
        await discarding.ctr(['images', 'rm', name]);
        await discarding.ctr(['images', 'import', file]);
        expect(await discarding.cri.status(name)).toMatchObject({ repoTags: [name] });
      }
    },
    READY_MS,
  );
});

function downloadPath(reference: string): string {
  return `/images/download?image=${encodeURIComponent(reference)}`;
}
