import { AgentCluster } from '../support/agent-cluster.js';
import { Cleanup } from '../support/cleanup.js';
import { DockerEngine } from '../support/docker-engine.js';
import { DockerRegistry } from '../support/docker-registry.js';
import { describeWith } from '../support/engines.js';
import { type BuiltImage, ImageBuilder } from '../support/image-builder.js';
import { pushImage } from '../support/push-image.js';

const MIB = 1024 * 1024;
const LAYERS = 9;
const READY_MS = 180_000;

describeWith(['dockerd', 'docker-registry'], 'Three Docker nodes and one registry', () => {
  const cleanup = new Cleanup();
  let registry: DockerRegistry;
  let engines: DockerEngine[];
  let cluster: AgentCluster;
  let image: BuiltImage;
  let reference: string;

  beforeAll(async () => {
    registry = await cleanup.track(DockerRegistry.start(), (started) => started.stop());
    const builder = await cleanup.track(ImageBuilder.create(), (started) => started.dispose());
    engines = await Promise.all(
      [1, 2, 3, 4, 5].map(() => cleanup.track(DockerEngine.start(), (started) => started.stop())),
    );
    const layers = Array.from({ length: LAYERS }, (_, index) => ({
      seed: `layer-${index}`,
      sizeBytes: 24 * MIB,
      compressible: 0,
    }));
    image = await builder.image({ layers });
    await pushImage(image, registry.url, 'team/app', ['1.0']);
    reference = `${registry.host}/team/app:1.0`;
    await registry.forget();
    cluster = await cleanup.track(
      AgentCluster.prepare(engines.slice(0, 4).map(({ host }) => ({ RUNTIME: 'docker', DOCKER_HOST: host }))),
      (started) => started.dispose(),
    );
    await cluster.list(reference);
  }, READY_MS);

  afterAll(() => cleanup.run(), 60_000);

  it(
    'makes all three ready while the registry sends each blob once',
    async () => {
      const three = cluster.agents.slice(0, 3);
      for (const agent of three) agent.start();
      const statuses = await Promise.all(three.map((agent) => agent.until(reference, 'ready', READY_MS)));

      expect(statuses.map(({ source }) => source).sort()).toEqual(['peer', 'peer', 'registry']);
      const traffic = await registry.blobTraffic();
      const { config, layers } = image.images[0]!;
      for (const { digest, size } of [config, ...layers])
        expect({ digest, bytes: traffic.get(digest)?.bytes }).toEqual({ digest, bytes: size });
    },
    READY_MS,
  );

  it('gives the image the id of a plain pull, its canonical tag, and no loopback name', async () => {
    await engines[4]!.client
      .pull(reference)
      .then((stream) => new Promise((resolve) => engines[4]!.client.modem.followProgress(stream, resolve)));
    const plain = await engines[4]!.client.getImage(reference).inspect();
    for (const engine of engines.slice(0, 3)) {
      const [found, ...others] = await engine.client.listImages();
      expect(others).toEqual([]);
      expect(found?.Id).toBe(plain.Id);
      expect(found?.RepoTags).toEqual([reference]);
      expect(JSON.stringify(found)).not.toContain('127.0.0.1:' + String(cluster.agents[0]!.mirrorPort));
      const container = await engine.client.createContainer({ Image: reference, Cmd: ['/none'] });
      await container.remove();
    }
  }, 60_000);

  it(
    'makes a fourth node ready from its peers while the registry is down',
    async () => {
      await registry.pause();
      const fourth = cluster.agents[3]!;
      fourth.start();
      const status = await fourth.until(reference, 'ready', READY_MS);
      expect(status.source).toBe('peer');
      expect(await fourth.metric('image_preheat_registry_bytes_total')).toBe(0);
      await registry.resume();
    },
    READY_MS,
  );
});
