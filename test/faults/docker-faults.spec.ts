import { setTimeout as delay } from 'node:timers/promises';

import type { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import type { Digest } from '../../src/domain/digest.js';
import type { AgentProcess } from '../support/agent-process.js';
import { AgentCluster } from '../support/agent-cluster.js';
import { Cleanup } from '../support/cleanup.js';
import { startDemoRegistry } from '../support/demo-images.js';
import { DockerEngine } from '../support/docker-engine.js';
import { canCreate, namesIn, wrongPartsIn } from '../support/engine-images.js';
import { describeWith } from '../support/engines.js';
import { survive } from '../support/fault-scene.js';
import { ImageBuilder } from '../support/image-builder.js';
import { pushImage } from '../support/push-image.js';
import { removeAgainAndAgain } from '../support/removed-images.js';
import { expectNoneWrong } from '../support/directory-cluster.js';

const READY_MS = 150_000;
const CASE_MS = 2 * READY_MS;
const MIB = 1024 * 1024;

describeWith('dockerd', 'Faults of Docker', () => {
  const cleanup = new Cleanup();
  let registry: DemoRegistry;
  let builder: ImageBuilder;
  let engine: DockerEngine;
  let cluster: AgentCluster;
  let agent: AgentProcess;
  /** Digests of the configs of what is listed, by reference. */
  const configs = new Map<string, Digest>();

  beforeAll(async () => {
    registry = await startDemoRegistry(cleanup);
    builder = await cleanup.track(ImageBuilder.create(), (made) => made.dispose());
    engine = await cleanup.track(DockerEngine.start(), (started) => started.stop());
    cluster = await cleanup.track(
      AgentCluster.prepare([{ RUNTIME: 'docker', DOCKER_HOST: engine.host, RECEIVE_RATE_LIMIT: '8MiB' }]),
      (made) => made.dispose(),
    );
    [agent] = cluster.agents as [AgentProcess];
    agent.start();
  }, CASE_MS);
  afterAll(() => cleanup.run(), CASE_MS);

  async function want(name: string): Promise<string> {
    const layers = [8, 4].map((size) => ({
      seed: `${name}-${size}`,
      sizeBytes: size * MIB,
      compressible: 0.1,
    }));
    const image = await builder.image({ layers, label: name });
    await pushImage(image, registry.url, `team/${name}`, ['1']);
    const reference = `${registry.host}/team/${name}:1`;
    configs.set(reference, image.images[0]!.config.digest);
    await agent.list(...configs.keys());
    return reference;
  }

  async function expectReady(reference: string): Promise<void> {
    await agent.until(reference, 'ready', READY_MS);
    expect(await canCreate(engine, reference)).toBe(true);
    expectNoneWrong(await wrongPartsIn(engine, reference, configs.get(reference)!));
  }

  it(
    'dockerd is killed while an image is on its way, and started again',
    async () => {
      await survive('docker: killed and started again', async () => {
        const reference = await want('killed');
        await agent.until(reference, 'fetching', READY_MS);
        await engine.kill();
        await delay(1_000);
        await engine.resume();
        await expectReady(reference);
        return 'ready when it is back';
      });
    },
    CASE_MS,
  );

  it(
    'its socket is gone: says so, serves on, and goes on when it is back',
    async () => {
      await survive('docker: socket gone', async () => {
        await engine.pause();
        const reference = await want('paused');
        const failed = await agent.until(reference, 'failed', READY_MS);
        expect(failed.reason).toBe('runtime_unreachable');
        expect((await agent.get('/health')).status).toBe(200);
        expect((await agent.get('/health/ready')).status).toBe(503);
        await engine.resume();
        await expectReady(reference);
        return 'runtime_unreachable, /health/ready 503; ready when it is back';
      });
    },
    CASE_MS,
  );

  it(
    'docker system prune runs in the midst of it',
    async () => {
      await survive('docker: prune midway', async () => {
        const reference = await want('pruned');
        for (let time = 0; time < 20 && !(await namesIn(engine)).includes(reference); time += 1) {
          await engine.client.pruneImages({ filters: { dangling: { false: true } } }).catch(() => undefined);
          await delay(250);
        }
        await expectReady(reference);
        return 'ready';
      });
    },
    CASE_MS,
  );

  it(
    'an image is removed just after it was ready, again and again',
    async () => {
      await survive('docker: image removed again and again', async () => {
        const reference = await want('removed');
        await expectReady(reference);
        const seen = await removeAgainAndAgain({
          agent,
          authorization: cluster.authorization,
          reference,
          limitMs: READY_MS,
          remove: () => engine.client.getImage(configs.get(reference)!).remove({ force: true }),
        });
        await expectReady(reference);
        return seen;
      });
    },
    CASE_MS,
  );
});
