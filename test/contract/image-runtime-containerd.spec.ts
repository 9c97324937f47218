import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

import { ImageRuntime } from '../../src/runtime/image-runtime.js';
import { LoopbackNames } from '../../src/runtime/loopback-names.js';
import type { RepoDigestRestorer } from '../../src/runtime/repo-digest-restorer.js';
import { ContainerdEngine } from '../support/containerd-engine.js';
import { describeContainerds } from '../support/containerd-versions.js';
import { DockerEngine } from '../support/docker-engine.js';
import { loadImage } from '../support/engine-images.js';
import { runtimeModule } from '../support/runtime-of.js';
import { describeImageRuntime } from './image-runtime.contract.js';

describeContainerds('containerd as a runtime', ['dockerd'], (options) => {
  describeImageRuntime(async ({ port }) => {
    // The other two are a user's: they load what the first one exports.
    const [engine, other, docker] = await Promise.all([
      ContainerdEngine.start(options),
      ContainerdEngine.start(options),
      DockerEngine.start(),
    ]);
    // RUNTIME is not set: no Docker answers, containerd does.
    const module = await runtimeModule({ containerdSockets: [engine.socketPath], mirrorPort: port });
    return {
      runtime: module.get<ImageRuntime & RepoDigestRestorer>(ImageRuntime),
      loopbackNames: module.get(LoopbackNames),
      identifiesBy: 'manifest',
      async plainPull(name) {
        await engine.cri.pull(name);
        const { target } = (await engine.images()).find((image) => image.name === name)!;
        await engine.cri.remove(name);
        return target;
      },
      async canCreateContainer(name) {
        // By its name alone: the snapshot it needs must be there already, unpacked.
        await engine.ctr(['containers', 'create', name, 'probe', '/none']);
        await engine.ctr(['containers', 'rm', 'probe']);
      },
      async load(tar, name) {
        const file = join(other.directory, 'export.tar');
        await pipeline(tar, createWriteStream(file));
        await other.ctr(['images', 'import', file]);
        expect((await other.images()).map((image) => image.name)).toContain(name);
        await loadImage(docker, file);
        return (await docker.client.getImage(name).inspect()).Id;
      },
      async dispose() {
        await Promise.all([engine.stop(), other.stop(), docker.stop()]);
      },
    };
  });
});
