import { systemClock } from '../../src/common/clock.js';
import type { AppConfig } from '../../src/config/app-config.js';
import type { PreheatMetrics } from '../../src/metrics/preheat-metrics.js';
import { DistributionResponder } from '../../src/mirror/distribution.responder.js';
import { MirrorServer } from '../../src/mirror/mirror.server.js';
import { Uplink } from '../../src/mirror/uplink.js';
import { SwarmSource } from '../../src/peers/swarm/swarm-source.js';
import { Arrivals } from '../../src/preheat/arrivals.js';
import { EarlyPull } from '../../src/preheat/early-pull.js';
import { ImageRuntime } from '../../src/runtime/image-runtime.js';
import { Cleanup } from '../support/cleanup.js';
import { DockerEngine } from '../support/docker-engine.js';
import { describeWith } from '../support/engines.js';
import { freePort } from '../support/free-port.js';
import { type BuiltImage, ImageBuilder } from '../support/image-builder.js';
import { runtimeModule } from '../support/runtime-of.js';
import { storeImage } from '../support/stored-image.js';
import { TemporaryStore } from '../support/temporary-store.js';

const MIB = 1024 * 1024;
const { signal } = new AbortController();

describeWith('dockerd', 'a pull by Docker that begins before its image has arrived', () => {
  const cleanup = new Cleanup();
  let builder: ImageBuilder;
  let engine: DockerEngine;
  let files: TemporaryStore;
  let mirror: MirrorServer;
  let runtime: ImageRuntime;

  beforeAll(async () => {
    builder = await cleanup.track(ImageBuilder.create(), (it) => it.dispose());
    engine = await cleanup.track(DockerEngine.start(), (it) => it.stop());
    files = await cleanup.track(TemporaryStore.open(), (it) => it.dispose());
    const settings = {
      mirrorPort: await freePort(),
      pullingTimeoutMs: 60_000,
      limits: { downloadRateBytesPerSecond: 0 },
    } as unknown as AppConfig;
    const uplink = new Uplink(settings, systemClock, {} as PreheatMetrics);
    mirror = new MirrorServer(
      settings,
      new DistributionResponder(settings, files.store, uplink, files.space, new SwarmSource(systemClock)),
    );
    await cleanup.track(mirror.listen(), () => mirror.close());
    const module = await runtimeModule({ kind: 'docker', dockerHost: engine.host });
    runtime = module.get<ImageRuntime>(ImageRuntime);
  }, 60_000);
  afterAll(() => cleanup.run(), 60_000);

  /** All of an image is in the store but its upper layer, and Docker has begun. */
  async function begin(seed: string): Promise<{ image: BuiltImage; arrivals: Arrivals; pull: EarlyPull }> {
    const layers = ['lower', 'upper'].map((part) => ({ seed: `${seed}-${part}`, sizeBytes: MIB }));
    const image = await builder.image({ layers });
    const upper = image.images[0]!.layers[1]!.digest;
    await storeImage(image, files.store, ({ digest }) => digest !== upper);
    const arrivals = new Arrivals([upper]);
    const asked = Promise.withResolvers<undefined>();
    const wait = arrivals.wait.bind(arrivals);
    arrivals.wait = async (digest, waiting) => {
      if (digest === upper) asked.resolve(undefined);
      await wait(digest, waiting);
    };
    const pull = new EarlyPull(image.root.digest, arrivals, runtime, mirror);
    await asked.promise;
    return { image, arrivals, pull };
  }

  it('waits for the last layer, and gives the image its id', async () => {
    const { image, arrivals, pull } = await begin('whole');
    const finished = pull.finish(signal, () => undefined);
    await storeImage(image, files.store);
    arrivals.arrived(image.images[0]!.layers[1]!.digest);
    const name = await finished;
    expect(name).toMatch(/^127\.0\.0\.1:\d+\/preheat\/[0-9a-f]{32}@sha256:/);
    expect((await engine.client.getImage(name!).inspect()).Id).toBe(image.images[0]!.config.digest);
    await pull.end();
  }, 60_000);

  it('leaves no image and no name when it is given up, and the whole image can be pulled then', async () => {
    const { image, pull } = await begin('given-up');
    await pull.end();
    const { digest } = image.images[0]!.config;
    const has = async (): Promise<boolean> =>
      (await engine.client.listImages({ all: true })).some(({ Id }) => Id === digest);
    expect(await has()).toBe(false);
    await storeImage(image, files.store);
    const session = mirror.open(image.root.digest);
    await runtime.pull(session.name, signal);
    session.close();
    expect(await has()).toBe(true);
  }, 60_000);

  it('keeps no place for downloads from others once it is given up', async () => {
    const pulls = [];
    for (const seed of ['one', 'two', 'three']) pulls.push((await begin(seed)).pull);
    const other = await builder.image({ layers: [{ seed: 'other', sizeBytes: MIB }] });
    await storeImage(other, files.store);
    const session = mirror.open(other.root.digest);
    // Docker downloads three layers at a time: those of the three pulls before.
    await Promise.all(pulls.map((pull) => pull.end()));
    await runtime.pull(session.name, signal);
    expect((await engine.client.getImage(session.name).inspect()).Id).toBe(other.images[0]!.config.digest);
    session.close();
  }, 60_000);
});
