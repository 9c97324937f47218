import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ImageRuntime } from '../../src/runtime/image-runtime.js';
import { LoopbackNames } from '../../src/runtime/loopback-names.js';
import type { RepoDigestRestorer } from '../../src/runtime/repo-digest-restorer.js';
import { DockerEngine, type DockerEngineOptions } from '../support/docker-engine.js';
import { describeUnless, describeWith } from '../support/engines.js';
import { newerDocker } from '../support/newer-docker.js';
import { runtimeModule, type RuntimeSettings } from '../support/runtime-of.js';
import { describeImageRuntime, type ImageRuntimeSubject } from './image-runtime.contract.js';

type Adapter = Pick<ImageRuntimeSubject, 'runtime' | 'loopbackNames'>;

async function adapter(settings: RuntimeSettings): Promise<Adapter> {
  const module = await runtimeModule(settings);
  return {
    runtime: module.get<ImageRuntime & RepoDigestRestorer>(ImageRuntime),
    loopbackNames: module.get(LoopbackNames),
  };
}

describe('directory runtime', () => {
  let directory: string;

  describeImageRuntime(async ({ port }) => {
    directory = await mkdtemp(join(tmpdir(), 'layout-'));
    return {
      ...(await adapter({ kind: 'directory', directory, mirrorPort: port })),
      identifiesBy: 'manifest',
      dispose: () => rm(directory, { recursive: true }),
    };
  });

  it('leaves nothing half written', async () => {
    expect(await readdir(join(directory, 'incoming'))).toEqual([]);
  });
});

describeWith('dockerd', 'Docker with its classic image store', () => {
  describeDocker('config', {});
});

const newer = newerDocker();
describeUnless(
  'missing' in newer ? newer.missing : undefined,
  'Docker with the containerd image store',
  () => {
    describeDocker('manifest', { containerdStore: true, ...newer });
  },
);

function describeDocker(identifiesBy: 'config' | 'manifest', options: DockerEngineOptions): void {
  describeImageRuntime(async ({ port }) => {
    // The second one is a user's: it loads what the first one exports.
    const [engine, other] = await Promise.all([
      DockerEngine.start({ ...options, maxDownloadAttempts: 1 }),
      DockerEngine.start(),
    ]);
    return {
      // RUNTIME is not set: the engine is found at DOCKER_HOST.
      ...(await adapter({ dockerHost: engine.host, mirrorPort: port })),
      identifiesBy,
      async plainPull(name) {
        await finished(engine, await engine.client.pull(name));
        const image = engine.client.getImage(name);
        const { Id } = await image.inspect();
        await image.remove();
        return Id;
      },
      async canCreateContainer(name) {
        const container = await engine.client.createContainer({ Image: name });
        await container.remove();
      },
      async load(tar, name) {
        await finished(other, await other.client.loadImage(tar));
        return (await other.client.getImage(name).inspect()).Id;
      },
      async dispose() {
        await Promise.all([engine.stop(), other.stop()]);
      },
    };
  });
}

async function finished({ client }: DockerEngine, stream: NodeJS.ReadableStream): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    client.modem.followProgress(stream, (error: Error | null) => (error ? reject(error) : resolve()));
  });
}
