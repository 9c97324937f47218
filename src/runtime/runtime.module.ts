import { Module } from '@nestjs/common';

import { AppConfig } from '../config/app-config.js';
import { DetectedRuntime } from './detected-runtime.js';
import { DirectoryRuntime } from './directory/directory-runtime.js';
import { DockerClient } from './docker/docker-client.js';
import { DockerService } from './docker/docker.service.js';
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
      inject: [AppConfig, DockerService, DirectoryRuntime],
      useFactory: selectRuntime,
    },
    { provide: RepoDigestRestorer, useExisting: ImageRuntime },
  ],
  exports: [ImageRuntime, RepoDigestRestorer, LoopbackNames],
})
export class RuntimeModule {}

function selectRuntime(
  { runtime: { kind } }: AppConfig,
  docker: DockerService,
  directory: DirectoryRuntime,
): ImageRuntime & RepoDigestRestorer {
  if (kind === 'directory') return directory;
  if (kind === 'docker') return docker;
  return new DetectedRuntime([
    { kind: 'docker', address: docker.address, runtime: docker, ping: (signal) => docker.ping(signal) },
  ]);
}
