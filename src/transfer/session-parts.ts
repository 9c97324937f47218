import type { Provider } from '@nestjs/common';

import { Clock } from '../common/clock.js';
import { PreheatMetrics } from '../metrics/preheat-metrics.js';
import { PeerService } from '../peers/peer.service.js';
import { RegistryClient } from '../registry/registry-client.js';
import { BlobStore } from '../store/blob-store.js';
import { ImageCatalog } from '../store/image-catalog.js';
import { StoreSpace } from '../store/store-space.js';
import { ArchiveIndex } from './archive/archive-index.js';
import type { BringerParts } from './blob-bringer.js';
import type { CollectorParts } from './blob-collector.js';
import { BlobDownloader } from './blob-downloader.js';
import { Flights } from './flights.js';
import type { ManifestParts } from './manifest-collector.js';
import { OriginClaims } from './origin-claims.js';
import { PeerSweep } from './peer-sweep.js';
import { RuntimeExports } from './runtime-exports.js';

/** The services that the parts of a transfer share; each part names the few it needs. */
export interface SessionParts extends CollectorParts, BringerParts, ManifestParts {
  readonly store: BlobStore;
  readonly peers: PeerService;
  readonly sweep: PeerSweep;
  readonly space: StoreSpace;
  readonly catalog: ImageCatalog;
  readonly exports: RuntimeExports;
  readonly archiveIndex: ArchiveIndex;
}
export const SessionParts = Symbol('SessionParts');

export const sessionParts: Provider = {
  provide: SessionParts,
  inject: [
    Clock,
    PreheatMetrics,
    PeerService,
    RegistryClient,
    BlobStore,
    ImageCatalog,
    StoreSpace,
    ArchiveIndex,
    BlobDownloader,
    Flights,
    OriginClaims,
    PeerSweep,
    RuntimeExports,
  ],
  useFactory: (
    clock: Clock,
    metrics: PreheatMetrics,
    peers: PeerService,
    registry: RegistryClient,
    store: BlobStore,
    catalog: ImageCatalog,
    space: StoreSpace,
    archiveIndex: ArchiveIndex,
    downloader: BlobDownloader,
    flights: Flights,
    claims: OriginClaims,
    sweep: PeerSweep,
    exports: RuntimeExports,
  ): SessionParts => ({
    clock,
    metrics,
    peers,
    registry,
    store,
    catalog,
    space,
    archiveIndex,
    archives: archiveIndex.source(),
    downloader,
    flights,
    claims,
    sweep,
    exports,
  }),
};
