import { digestName, parseImageReference } from '../../src/domain/image-reference.js';
import { AgentCluster } from '../support/agent-cluster.js';
import type { AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { DockerEngine, type DockerEngineOptions } from '../support/docker-engine.js';
import { DockerRegistry } from '../support/docker-registry.js';
import { canCreate, namesIn, plainPull } from '../support/engine-images.js';
import { describeUnless, describeWith } from '../support/engines.js';
import { type BuiltImage, ImageBuilder } from '../support/image-builder.js';
import { newerDocker } from '../support/newer-docker.js';
import { pushImage } from '../support/push-image.js';

const MIB = 1024 * 1024;
const READY_MS = 120_000;
const FOREIGN = { os: 'linux', architecture: 's390x' };

describeWith(
  ['dockerd', 'docker-registry'],
  'Docker with its classic image store, every form of image',
  () => {
    describeForms({});
  },
);

const newer = newerDocker();
describeUnless(
  'missing' in newer ? newer.missing : undefined,
  'Docker with the containerd image store, every form of image',
  () => describeForms({ containerdStore: true, ...newer }),
);

function describeForms(options: DockerEngineOptions): void {
  const cleanup = new Cleanup();
  let registry: DockerRegistry;
  let engines: DockerEngine[];
  let cluster: AgentCluster;
  const images = new Map<string, BuiltImage>();
  const reference = (name: string, suffix = ':1'): string => `${registry.host}/forms/${name}${suffix}`;
  const byDigest = (name: string): string => reference(name, `@${images.get(name)!.root.digest}`);

  beforeAll(async () => {
    registry = await cleanup.track(DockerRegistry.start(), (started) => started.stop());
    const builder = await cleanup.track(ImageBuilder.create(), (started) => started.dispose());
    // The last one is a user's, without an agent.
    engines = await Promise.all(
      [1, 2, 3].map(() =>
        cleanup.track(DockerEngine.start({ ...options, maxDownloadAttempts: 1 }), (engine) => engine.stop()),
      ),
    );
    const layers = (name: string) =>
      [1, 2].map((index) => ({ seed: `${name}-${index}`, sizeBytes: 2 * MIB, compressible: 0.5 }));
    const single = await builder.image({ layers: layers('index') });
    const foreign = await builder.image({ layers: layers('foreign'), platform: FOREIGN });
    images.set('index', await builder.index([foreign, single], { attestations: true }));
    images.set('schema2', await builder.image({ layers: layers('schema2'), format: 'docker' }));
    const docker = await builder.image({ layers: layers('list'), format: 'docker' });
    images.set('list', await builder.index([docker], { format: 'docker' }));
    images.set('digest', await builder.image({ layers: layers('digest') }));
    const other = await builder.image({ layers: layers('both') });
    images.set('both', await builder.index([other], { attestations: true }));
    for (const [name, image] of images) await pushImage(image, registry.url, `forms/${name}`, ['1']);
    cluster = await cleanup.track(
      AgentCluster.prepare(engines.slice(0, 2).map(({ host }) => ({ RUNTIME: 'docker', DOCKER_HOST: host }))),
      (started) => started.dispose(),
    );
  }, READY_MS);

  afterAll(() => cleanup.run(), 60_000);

  it(
    'gives each tag the id of a plain pull, and no other name',
    async () => {
      const [agent] = cluster.agents;
      const tags = ['index', 'schema2', 'list'].map((name) => reference(name));
      await cluster.list(...tags);
      agent!.start();
      for (const tag of tags) {
        await agent!.until(tag, 'ready', READY_MS);
        const plain = await plainPull(engines[2]!, tag);
        expect((await engines[0]!.client.getImage(tag).inspect()).Id).toBe(plain.Id);
        expect(await canCreate(engines[0]!, tag)).toBe(true);
      }
      await noLoopbackNames(agent!, engines[0]!);
    },
    READY_MS,
  );

  it(
    'makes a digest resolve, and creates no tag for it',
    async () => {
      const [agent] = cluster.agents;
      const both = parseImageReference(reference('both', `:1@${images.get('both')!.root.digest}`));
      const entries = [byDigest('digest'), digestName(both, images.get('both')!.root.digest)];
      await cluster.list(byDigest('digest'), reference('both', `:1@${images.get('both')!.root.digest}`));
      await agent!.wait('both digests are ready', READY_MS, async () => {
        const states = await agent!.images();
        const ready = states.filter(({ state, message }) => state === 'ready' && message === undefined);
        return ready.length === 2 || undefined;
      });
      for (const entry of entries) {
        const plain = await plainPull(engines[2]!, entry);
        expect((await engines[0]!.client.getImage(entry).inspect()).Id).toBe(plain.Id);
        expect(await canCreate(engines[0]!, entry)).toBe(true);
      }
      await noLoopbackNames(agent!, engines[0]!);
      const names = await namesIn(engines[0]!);
      expect(names).not.toContain(reference('both'));
      expect(names).not.toContain(reference('digest'));
    },
    READY_MS,
  );

  it(
    'is ready for a digest while the registry is down, and names it at the latest when that is back',
    async () => {
      const second = cluster.agents[1]!;
      const entry = byDigest('digest');
      await registry.pause();
      await cluster.list(entry);
      second.start();
      const status = await second.until(entry, 'ready', READY_MS);
      expect(status.source).toBe('peer');
      if (options.containerdStore !== true) {
        expect(status.message).toMatch(/not yet by its digest/);
        await expect(engines[1]!.client.getImage(entry).inspect()).rejects.toThrow(/no such image/i);
      }
      await registry.resume();
      await second.wait('named', READY_MS, async () => {
        const [image] = await second.images();
        return (image?.state === 'ready' && image.message === undefined) || undefined;
      });
      await engines[1]!.client.getImage(entry).inspect();
      await noLoopbackNames(second, engines[1]!);
      expect(await canCreate(engines[1]!, entry)).toBe(true);
    },
    READY_MS,
  );

  /** Names of a pull go away with it, or at the next check where something came between. */
  async function noLoopbackNames(agent: AgentProcess, engine: DockerEngine): Promise<void> {
    await agent.wait('without loopback names', 20_000, async () => {
      const names = await namesIn(engine);
      return names.every((name) => !name.startsWith(`127.0.0.1:${agent.mirrorPort}/`)) || undefined;
    });
    expect(await namesIn(engine)).not.toContain('<none>:<none>');
  }
}
