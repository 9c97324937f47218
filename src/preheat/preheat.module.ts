import { Module } from '@nestjs/common';

import { ImageListModule } from '../image-list/image-list.module.js';
import { ClusterLockModule } from '../lock/cluster-lock.module.js';
import { MirrorModule } from '../mirror/mirror.module.js';
import { PeersModule } from '../peers/peers.module.js';
import { RegistryModule } from '../registry/registry.module.js';
import { RuntimeModule } from '../runtime/runtime.module.js';
import { StoreModule } from '../store/store.module.js';
import { TransferModule } from '../transfer/transfer.module.js';
import { DigestNaming } from './digest-naming.js';
import { DigestResolver } from './digest-resolver.js';
import { DiskGuard } from './disk-guard.js';
import { DriftCheck } from './drift-check.js';
import { FailurePause } from './failure-pause.js';
import { HolderRun } from './holder-run.js';
import { ImageLoader } from './image-loader.js';
import { ImagePreheater } from './image.preheater.js';
import { ImageSessions } from './image-sessions.js';
import { PinnedImages } from './pinned-images.js';
import { PreheatAttempt } from './preheat.attempt.js';
import { PreheatRunner } from './preheat.runner.js';
import { Removals } from './removals.js';
import { PreheatScheduler } from './preheat.scheduler.js';
import { PreheatService } from './preheat.service.js';
import { ReadyImages } from './ready-images.js';
import { RuntimeInventory } from './runtime-inventory.js';
import { RuntimeNames } from './runtime-names.js';
import { Slots } from './slots.js';
import { StatusStore } from './status.store.js';
import { Upkeep } from './upkeep.js';
import { WantedImages } from './wanted-images.js';

@Module({
  imports: [
    ClusterLockModule,
    ImageListModule,
    MirrorModule,
    PeersModule,
    RegistryModule,
    RuntimeModule,
    StoreModule,
    TransferModule,
  ],
  providers: [
    DigestNaming,
    DigestResolver,
    DiskGuard,
    DriftCheck,
    FailurePause,
    HolderRun,
    ImageLoader,
    ImagePreheater,
    ImageSessions,
    PinnedImages,
    PreheatAttempt,
    PreheatRunner,
    Removals,
    PreheatScheduler,
    PreheatService,
    ReadyImages,
    RuntimeInventory,
    RuntimeNames,
    Slots,
    StatusStore,
    Upkeep,
    WantedImages,
  ],
  exports: [PreheatScheduler, PreheatService, RuntimeInventory, StatusStore, WantedImages],
})
export class PreheatModule {}
