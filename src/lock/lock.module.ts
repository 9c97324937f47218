import { type DynamicModule, Module, type ModuleMetadata, type Provider } from '@nestjs/common';

import { Clock } from '../common/clock.js';
import { AppConfig } from '../config/app-config.js';
import { KubernetesClient } from '../kubernetes/kubernetes-client.js';
import { KubernetesModule } from '../kubernetes/kubernetes.module.js';
import { FileLockStore } from './file/file-lock-store.js';
import { HolderProof } from './holder-proof.js';
import { KubernetesLockStore } from './kubernetes/kubernetes-lock-store.js';
import { LeaseKeeper } from './lease-keeper.js';
import { LockService } from './lock.service.js';
import { LockStore } from './lock-store.js';
import { MemoryLockStore } from './memory/memory-lock-store.js';
import { RecordBook } from './record-book.js';
import { RecordInterpreter } from './record-interpreter.js';
import { TurnOrder } from './turn-order.js';

const lockStore: Provider = {
  provide: LockStore,
  inject: [AppConfig, KubernetesClient, Clock],
  useFactory: ({ lock, kubernetes }: AppConfig, client: KubernetesClient, clock: Clock): LockStore => {
    switch (lock.backend) {
      case 'kubernetes':
        return new KubernetesLockStore(client, kubernetes.lockConfigMap);
      case 'file':
        if (lock.file === undefined) throw new Error('the file backend needs a file');
        return new FileLockStore(lock.file, clock);
      case 'memory':
        return new MemoryLockStore();
    }
  },
};

@Module({})
export class LockModule {
  /** @param ports binds `LockIdentity`, `RecordKey`, `HolderProbe`, `KnownNodes` and `RecordCache`, with what they need */
  static register(ports: Required<Pick<ModuleMetadata, 'imports' | 'providers'>>): DynamicModule {
    return {
      module: LockModule,
      imports: [KubernetesModule, ...ports.imports],
      providers: [
        ...ports.providers,
        lockStore,
        RecordBook,
        HolderProof,
        RecordInterpreter,
        TurnOrder,
        LeaseKeeper,
        LockService,
      ],
      exports: [LockService],
    };
  }
}
