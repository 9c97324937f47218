import { Module } from '@nestjs/common';

import { PeersModule } from '../peers/peers.module.js';
import { RegistryModule } from '../registry/registry.module.js';
import { BlobStore } from '../store/blob-store.js';
import { StoreInventory } from '../store/store-inventory.js';
import { StoreModule } from '../store/store.module.js';
import { ArchiveIndex } from './archive/archive-index.js';
import { AvailabilityService } from './availability.service.js';
import { BlobDownloader } from './blob-downloader.js';
import { Downlink } from './downlink.js';
import { ExportIngest } from './export/export-ingest.js';
import { Flights } from './flights.js';
import { OriginClaims } from './origin-claims.js';
import { PeerSweep } from './peer-sweep.js';
import { RuntimeExports } from './runtime-exports.js';
import { sessionParts } from './session-parts.js';
import { ChunkFetcher } from './swarm/chunk-fetcher.js';
import { TransferService } from './transfer.service.js';

@Module({
  imports: [PeersModule, RegistryModule, StoreModule],
  providers: [
    ArchiveIndex,
    AvailabilityService,
    BlobDownloader,
    ChunkFetcher,
    Downlink,
    {
      provide: ExportIngest,
      inject: [BlobStore, StoreInventory],
      useFactory: (store: BlobStore, inventory: StoreInventory) => new ExportIngest(store, inventory),
    },
    Flights,
    OriginClaims,
    PeerSweep,
    RuntimeExports,
    sessionParts,
    TransferService,
  ],
  exports: [ArchiveIndex, AvailabilityService, TransferService],
})
export class TransferModule {}
