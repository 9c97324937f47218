import { Module } from '@nestjs/common';

import { Clock } from '../common/clock.js';
import { AppConfig } from '../config/app-config.js';
import { ContainerdClient } from './containerd/containerd-client.js';
import { ContainerdRuntime } from './containerd/containerd-runtime.js';
import { DetectedRuntime, type RuntimeCandidate } from './detected-runtime.js';
import { DirectoryRuntime } from './directory/directory-runtime.js';
import { DockerClient } from './docker/docker-client.js';
import { DockerService } from './docker/docker.service.js';
import { ImagePinner } from './image-pinner.js';
import { ImageRuntime } from './image-runtime.js';
import { LoopbackNames } from './loopback-names.js';
import { RepoDigestRestorer } from './repo-digest-restorer.js';

/**
 * The container runtime of this node, by `RUNTIME`. A global module may provide `RegistryAuth`; without one, Docker asks
 * registries anonymously.
 */
@Module({
  providers: [
    DockerClient,
    DockerService,
    DirectoryRuntime,
    LoopbackNames,
    {
      provide: ImageRuntime,
      inject: [AppConfig, Clock, DockerService, DirectoryRuntime],
      useFactory: selectRuntime,
    },
    { provide: RepoDigestRestorer, useExisting: ImageRuntime },
    { provide: ImagePinner, useExisting: ImageRuntime },
  ],
  exports: [ImageRuntime, RepoDigestRestorer, ImagePinner, LoopbackNames],
})
export class RuntimeModule {}

function selectRuntime(
  { runtime, platform }: AppConfig,
  clock: Clock,
  docker: DockerService,
  directory: DirectoryRuntime,
): RuntimeCandidate['runtime'] {
  if (runtime.kind === 'directory') return directory;
  if (runtime.kind === 'docker') return docker;
  const containerds = runtime.containerdSockets.map((socketPath): RuntimeCandidate => {
    const client = new ContainerdClient(socketPath, runtime.containerdNamespace);
    return candidate('containerd', new ContainerdRuntime(client, platform, clock));
  });
  return new DetectedRuntime(
    runtime.kind === 'containerd' ? containerds : [candidate('docker', docker), ...containerds],
  );
}

function candidate(kind: string, runtime: DockerService | ContainerdRuntime): RuntimeCandidate {
  return { kind, address: runtime.address, runtime, ping: (signal) => runtime.ping(signal) };
}
