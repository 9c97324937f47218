import { AgentCluster } from '../support/agent-cluster.js';
import { Cleanup } from '../support/cleanup.js';
import { ContainerdEngine } from '../support/containerd-engine.js';
import { DockerRegistry } from '../support/docker-registry.js';
import { describeWith } from '../support/engines.js';
import { type BuiltImage, ImageBuilder } from '../support/image-builder.js';
import { pushImage } from '../support/push-image.js';

const MIB = 1024 * 1024;
const LAYERS = 9;
const READY_MS = 180_000;

describeWith(['containerd', 'docker-registry'], 'Three containerd nodes and one registry', () => {
  const cleanup = new Cleanup();
  let registry: DockerRegistry;
  let engines: ContainerdEngine[];
  let cluster: AgentCluster;
  let image: BuiltImage;
  let reference: string;
  let byDigest: string;

  beforeAll(async () => {
    registry = await cleanup.track(DockerRegistry.start(), (started) => started.stop());
    const builder = await cleanup.track(ImageBuilder.create(), (started) => started.dispose());
    engines = await Promise.all(
      [1, 2, 3, 4, 5].map(() => cleanup.track(ContainerdEngine.start(), (started) => started.stop())),
    );
    const layers = Array.from({ length: LAYERS }, (_, index) => ({
      seed: `layer-${index}`,
      sizeBytes: 16 * MIB,
      compressible: 0,
    }));
    const single = await builder.image({ layers });
    image = await builder.index([single], { attestations: true });
    await pushImage(image, registry.url, 'team/app', ['1.0']);
    reference = `${registry.host}/team/app:1.0`;
    byDigest = `${registry.host}/team/app@${image.root.digest}`;
    await registry.forget();
    cluster = await cleanup.track(
      AgentCluster.prepare(
        engines.slice(0, 4).map(({ socketPath }) => ({ CONTAINERD_ADDRESS: socketPath })),
        { RUNTIME: 'containerd', PIN_IMAGES: 'true' },
      ),
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

  it('shows kubelet what its own pull would: one image by tag, digest and id, and no other name', async () => {
    const plain = engines[4]!;
    const id = await plain.cri.pull(reference);
    expect(id).toBe(image.images[0]!.config.digest);
    expect(await plain.cri.pull(byDigest)).toBe(id);
    const asPulled = await plain.cri.status(reference);
    expect(asPulled).toMatchObject({ id, repoTags: [reference], repoDigests: [byDigest] });
    // Ours are pinned, which from 1.7 on shows here.
    const expected = { ...asPulled, pinned: expect.any(Boolean) as boolean };
    const records = (await plain.images()).sort(byName);
    for (const engine of engines.slice(0, 3)) {
      for (const name of [reference, byDigest, id]) expect(await engine.cri.status(name)).toEqual(expected);
      expect(await engine.cri.images()).toEqual([expected]);
      expect((await engine.images()).sort(byName)).toEqual(records);
      await expectUsable(engine);
    }
  }, 60_000);

  it("moves no blob at kubelet's own pull afterwards, keeps the pin, and loses nothing when it fails", async () => {
    await registry.forget();
    const [first, second] = engines as [ContainerdEngine, ContainerdEngine];
    const [agent] = cluster.agents;
    expect(await first.cri.pull(reference)).toBe(image.images[0]!.config.digest);
    expect([...(await registry.blobTraffic()).keys()]).toEqual([]);
    await agent!.wait('pinned', 30_000, async () => {
      const pinned = await first.ctr(['images', 'ls', `labels."io.cri-containerd.pinned"==pinned`]);
      return pinned.includes(reference) || undefined;
    });
    await registry.pause();
    await expect(second.cri.pull(reference)).rejects.toThrow();
    await expectUsable(second);
    await registry.resume();
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

  it(
    'fetches it again when kubelet has collected it, and unpins what leaves the list without removing it',
    async () => {
      const [first] = engines as [ContainerdEngine];
      await first.cri.remove(reference);
      expect(await first.cri.images()).toEqual([]);
      const [agent] = cluster.agents;
      await agent!.wait('there again', READY_MS, async () => first.cri.status(reference));
      await agent!.until(reference, 'ready', READY_MS);
      await agent!.list();
      await agent!.wait('unpinned', 30_000, async () => {
        const records = await first.ctr(['images', 'ls', `labels."io.cri-containerd.pinned"==pinned`]);
        return !records.includes(reference) || undefined;
      });
      expect(await first.cri.status(reference)).toMatchObject({ repoTags: [reference] });
    },
    READY_MS,
  );

  /** Its snapshot is there: nothing has to be unpacked or fetched for a container of it. */
  async function expectUsable(engine: ContainerdEngine): Promise<void> {
    await engine.ctr(['containers', 'create', reference, 'probe', '/none']);
    await engine.ctr(['containers', 'rm', 'probe']);
  }
});

function byName(left: { readonly name: string }, right: { readonly name: string }): number {
  return left.name < right.name ? -1 : 1;
}
