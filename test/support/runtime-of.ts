import { Global, Module } from '@nestjs/common';
import { Test, type TestingModule } from '@nestjs/testing';

import { Clock, systemClock } from '../../src/common/clock.js';
import { AppConfig } from '../../src/config/app-config.js';
import { platformOfProcess } from '../../src/domain/platform.js';
import { RegistryAuth, type RegistryCredentials } from '../../src/runtime/registry-auth.js';
import { RuntimeModule } from '../../src/runtime/runtime.module.js';

export interface RuntimeSettings {
  readonly kind?: 'docker' | 'containerd' | 'directory';
  readonly directory?: string;
  readonly dockerHost?: string;
  readonly dockerCertPath?: string;
  readonly dockerTlsVerify?: boolean;
  readonly containerdSockets?: readonly string[];
  readonly containerdNamespace?: string;
  readonly mirrorPort?: number;
  /** What `REGISTRY_CONFIG` holds, by host. */
  readonly credentials?: Readonly<Record<string, RegistryCredentials>>;
}

/** The runtime as the application puts it together. */
export function runtimeModule({
  mirrorPort = 5051,
  credentials = {},
  ...runtime
}: RuntimeSettings): Promise<TestingModule> {
  const config = {
    mirrorPort,
    platform: platformOfProcess(process.platform, process.arch),
    runtime: {
      directory: '/nonexistent',
      dockerHost: 'unix:///nonexistent/docker.sock',
      dockerTlsVerify: false,
      containerdSockets: ['/nonexistent/containerd.sock'],
      containerdNamespace: 'k8s.io',
      pinImages: false,
      restoreRepoDigests: 'auto',
      ...runtime,
    },
  } as unknown as AppConfig;
  const auth: RegistryAuth = { forRepository: ({ registry }) => Promise.resolve(credentials[registry]) };

  @Global()
  @Module({
    providers: [
      { provide: AppConfig, useValue: config },
      { provide: Clock, useValue: systemClock },
      { provide: RegistryAuth, useValue: auth },
    ],
    exports: [AppConfig, Clock, RegistryAuth],
  })
  class SettingsModule {}

  return Test.createTestingModule({ imports: [SettingsModule, RuntimeModule] }).compile();
}
