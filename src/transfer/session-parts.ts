import type { Provider } from '@nestjs/common';

import { Clock } from '../common/clock.js';
import { PreheatMetrics } from '../metrics/preheat-metrics.js';
import { AgentIdentity } from '../peers/agent-identity.js';
import { PeerService } from '../peers/peer.service.js';
import { SwarmSource } from '../peers/swarm/swarm-source.js';
import { RegistryClient } from '../registry/registry-client.js';
import { BlobStore } from '../store/blob-store.js';
import { ImageCatalog } from '../store/image-catalog.js';
import { StoreSpace } from '../store/store-space.js';
import { ArchiveIndex } from './archive/archive-index.js';
import type { BringerParts } from './blob-bringer.js';
import type { CollectorParts } from './blob-collector.js';
import { BlobDownloader } from './blob-downloader.js';
import { Downlink } from './downlink.js';
import { Flights } from './flights.js';
import type { ManifestParts } from './manifest-collector.js';
import { OriginClaims } from './origin-claims.js';
import { PeerSweep } from './peer-sweep.js';
import { RuntimeExports } from './runtime-exports.js';
import { ChunkFetcher } from './swarm/chunk-fetcher.js';
import type { SwarmParts } from './swarm/image-swarm.js';

/** The services that the parts of a transfer share; each part names the few it needs. */
export interface SessionParts extends CollectorParts, BringerParts, ManifestParts, SwarmParts {
  readonly self: AgentIdentity;
  readonly metrics: PreheatMetrics;
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
    AgentIdentity,
    Clock,
    PreheatMetrics,
    PeerService,
    SwarmSource,
    RegistryClient,
    BlobStore,
    ImageCatalog,
    StoreSpace,
    ArchiveIndex,
    BlobDownloader,
    ChunkFetcher,
    Downlink,
    Flights,
    OriginClaims,
    PeerSweep,
    RuntimeExports,
  ],
  useFactory: (
    self: AgentIdentity,
    clock: Clock,
    metrics: PreheatMetrics,
    peers: PeerService,
    relays: SwarmSource,
    registry: RegistryClient,
    store: BlobStore,
    catalog: ImageCatalog,
    space: StoreSpace,
    archiveIndex: ArchiveIndex,
    downloader: BlobDownloader,
    fetcher: ChunkFetcher,
    downlink: Downlink,
    flights: Flights,
    claims: OriginClaims,
    sweep: PeerSweep,
    exports: RuntimeExports,
  ): SessionParts => ({
    self,
    clock,
    metrics,
    peers,
    relays,
    registry,
    store,
    catalog,
    space,
    archiveIndex,
    archives: archiveIndex.source(),
    downloader,
    fetcher,
    downlink,
    flights,
    claims,
    sweep,
    exports,
  }),
};
