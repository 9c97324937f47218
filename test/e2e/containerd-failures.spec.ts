import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import type { AgentProcess } from '../support/agent-process.js';
import { AgentCluster } from '../support/agent-cluster.js';
import { Cleanup } from '../support/cleanup.js';
import { ContainerdEngine, type ContainerdEngineOptions } from '../support/containerd-engine.js';
import { DockerRegistry } from '../support/docker-registry.js';
import { describeWith } from '../support/engines.js';
import { ImageBuilder } from '../support/image-builder.js';
import { pushImage } from '../support/push-image.js';

const MIB = 1024 * 1024;
const READY_MS = 120_000;
/** Images that may be loaded before they can be disturbed at it. */
const MAX_TRIES = 20;
const exec = promisify(execFile);

describeWith(['containerd', 'docker-registry'], 'An agent beside a containerd that fails', () => {
  const cleanup = new Cleanup();
  let registry: DockerRegistry;
  let builder: ImageBuilder;
  let images = 0;

  beforeAll(async () => {
    registry = await cleanup.track(DockerRegistry.start(), (started) => started.stop());
    builder = await cleanup.track(ImageBuilder.create(), (started) => started.dispose());
  }, READY_MS);

  afterAll(() => cleanup.run(), 60_000);

  function startEngine(options: ContainerdEngineOptions = {}): Promise<ContainerdEngine> {
    return cleanup.track(ContainerdEngine.start(options), (engine) => engine.stop());
  }

  async function prepareAgent(environment: Readonly<Record<string, string>>): Promise<AgentProcess> {
    const cluster = await cleanup.track(AgentCluster.prepare([environment]), (made) => made.dispose());
    return cluster.agents[0]!;
  }

  async function push(sizeMib: number): Promise<string> {
    const name = `app-${images++}`;
    const layers = [1, 2].map((at) => ({
      seed: `${name}-${at}`,
      sizeBytes: (sizeMib / 2) * MIB,
      compressible: 0.5,
    }));
    await pushImage(await builder.image({ layers, label: name }), registry.url, `team/${name}`, ['1']);
    return `${registry.host}/team/${name}:1`;
  }

  /** Lists new images until one was seen at `loading`, and did not become ready before `disturb` was done. */
  async function disturbLoading(
    agent: AgentProcess,
    disturb: (reference: string) => Promise<unknown>,
    engine: ContainerdEngine,
  ): Promise<string> {
    for (let attempt = 0; attempt < MAX_TRIES; attempt++) {
      const reference = await push(64);
      await agent.list(reference);
      const seen = await agent.wait('loading', READY_MS, async () => {
        const status = (await agent.images()).find(({ image }) => image === reference);
        return status && ['loading', 'ready'].includes(status.state) ? status : undefined;
      });
      if (seen.state === 'ready') continue;
      await disturb(reference);
      const names = await engine.images().catch(() => []);
      if (!names.some(({ name }) => name === reference)) return reference;
      if (!engine.isRunning) await engine.resume();
    }
    throw new Error(`none of ${MAX_TRIES} images was caught at loading`);
  }

  async function expectUsable(engine: ContainerdEngine, reference: string): Promise<void> {
    expect(await engine.cri.status(reference)).toMatchObject({ repoTags: [reference] });
    await engine.ctr(['containers', 'create', reference, 'probe', '/none']);
    await engine.ctr(['containers', 'rm', 'probe']);
  }

  it(
    'says where it has looked when no runtime is there, and finds containerd when it comes',
    async () => {
      const engine = await startEngine();
      await engine.pause();
      const docker = join(engine.directory, 'no-docker.sock');
      const agent = await prepareAgent({
        DOCKER_HOST: `unix://${docker}`,
        CONTAINERD_ADDRESS: engine.socketPath,
      });
      const reference = await push(2);
      await agent.list(reference);
      agent.start();
      const failed = await agent.until(reference, 'failed', READY_MS);
      expect(failed.reason).toBe('runtime_unreachable');
      expect(failed.message).toContain(`docker at unix://${docker}`);
      expect(failed.message).toContain(`containerd at ${engine.socketPath}`);
      expect(failed.retryAt).toBeDefined();
      expect((await agent.get('/health')).status).toBe(200);
      expect((await agent.get('/health/ready')).status).toBe(503);
      await engine.resume();
      await agent.until(reference, 'ready', READY_MS);
      await expectUsable(engine, reference);
    },
    2 * READY_MS,
  );

  it('says so when CRI is switched off, as in the configuration that comes with Docker', async () => {
    const engine = await startEngine({ withoutCri: true });
    const agent = await prepareAgent({ RUNTIME: 'containerd', CONTAINERD_ADDRESS: engine.socketPath });
    const reference = await push(2);
    await agent.list(reference);
    agent.start();
    const failed = await agent.until(reference, 'failed', READY_MS);
    expect(failed).toMatchObject({
      reason: 'runtime_unreachable',
      message: expect.stringContaining('its CRI plugin is off') as string,
    });
  }, 60_000);

  it.each([
    ['killed', (engine: ContainerdEngine) => engine.kill()],
    ['stopped', (engine: ContainerdEngine) => engine.pause()],
  ])(
    'says why, and is ready soon after, when containerd is %s in the middle of a pull',
    async (_, end) => {
      const engine = await startEngine();
      const agent = await prepareAgent({ RUNTIME: 'containerd', CONTAINERD_ADDRESS: engine.socketPath });
      agent.start();
      const reference = await disturbLoading(agent, () => end(engine), engine);
      const failed = await agent.until(reference, 'failed', READY_MS);
      expect(failed.reason).toMatch(/^runtime_(unreachable|error)$/);
      expect(failed.message).not.toContain('preheat/');
      expect((await agent.get('/health')).status).toBe(200);
      await engine.resume();
      const names = await engine.cri.names();
      // It may have been retried and ready by now; what shows is whole.
      if (names.includes(reference)) await expectUsable(engine, reference);
      await agent.until(reference, 'ready', READY_MS);
      await expectUsable(engine, reference);
    },
    4 * READY_MS,
  );

  it(
    'leaves nothing when an image leaves the list in the middle of its pull, and takes it up again',
    async () => {
      const engine = await startEngine();
      const agent = await prepareAgent({ RUNTIME: 'containerd', CONTAINERD_ADDRESS: engine.socketPath });
      agent.start();
      const unlist = async (): Promise<void> => {
        await agent.list();
        await agent.wait('nothing', READY_MS, async () => (await agent.images()).length === 0 || undefined);
      };
      const reference = await disturbLoading(agent, unlist, engine);
      expect(await engine.cri.status(reference)).toBeUndefined();
      await agent.list(reference);
      await agent.until(reference, 'ready', READY_MS);
      await expectUsable(engine, reference);
      await agent.wait('without names of pulls', 30_000, async () => {
        const names = (await engine.images()).map(({ name }) => name);
        return !names.some((name) => name.includes('/preheat/')) || undefined;
      });
    },
    4 * READY_MS,
  );

  it(
    'says that the disk is full, leaves nothing, and is ready once there is room',
    async () => {
      const root = await cleanup.track(mkdtemp(join(tmpdir(), 'ctd-small-')), (path) =>
        rm(path, { recursive: true, force: true }),
      );
      await cleanup.track(exec('mount', ['-t', 'tmpfs', '-o', 'size=48m', 'small', root]), () =>
        exec('umount', ['--lazy', root]),
      );
      const engine = await startEngine({ root });
      // The guard would refuse beforehand: this is what happens where others fill the disk after it has looked.
      const agent = await prepareAgent({
        RUNTIME: 'containerd',
        CONTAINERD_ADDRESS: engine.socketPath,
        MIN_FREE_DISK: '0',
      });
      const reference = await push(64);
      await agent.list(reference);
      agent.start();
      const failed = await agent.until(reference, 'failed', READY_MS);
      expect(failed.reason).toBe('insufficient_disk');
      expect(failed.message).not.toContain('preheat/');
      expect(await engine.cri.images()).toEqual([]);
      expect((await agent.get('/health')).status).toBe(200);
      await exec('mount', ['-o', 'remount,size=512m', root]);
      await agent.until(reference, 'ready', READY_MS);
      await expectUsable(engine, reference);
    },
    2 * READY_MS,
  );

  it('refuses beforehand what would leave too little room on the disk of containerd', async () => {
    const engine = await startEngine();
    const agent = await prepareAgent({
      RUNTIME: 'containerd',
      CONTAINERD_ADDRESS: engine.socketPath,
      MIN_FREE_DISK: '99.9%',
    });
    const reference = await push(2);
    await agent.list(reference);
    agent.start();
    expect((await agent.until(reference, 'failed', READY_MS)).reason).toBe('insufficient_disk');
    expect(await engine.cri.images()).toEqual([]);
  }, 60_000);

  it('says so when a hosts.toml for all registries sends the pull elsewhere', async () => {
    const certsDirectory = await cleanup.track(mkdtemp(join(tmpdir(), 'certs.d-')), (path) =>
      rm(path, { recursive: true, force: true }),
    );
    await mkdir(join(certsDirectory, '_default'));
    const hosts = `server = "${registry.url}"\n[host."${registry.url}"]\ncapabilities = ["pull", "resolve"]\n`;
    await writeFile(join(certsDirectory, '_default', 'hosts.toml'), hosts);
    const engine = await startEngine({ certsDirectory });
    const agent = await prepareAgent({ RUNTIME: 'containerd', CONTAINERD_ADDRESS: engine.socketPath });
    const reference = await push(2);
    await agent.list(reference);
    agent.start();
    const failed = await agent.until(reference, 'failed', READY_MS);
    expect(failed.reason).toBe('runtime_error');
    expect(failed.message).toContain('certs.d/_default/hosts.toml');
    expect(failed.message).not.toMatch(/preheat\/[0-9a-f]{32}/);
  }, 60_000);
});
