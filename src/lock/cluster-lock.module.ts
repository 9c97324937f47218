import { Module, type Provider } from '@nestjs/common';

import { AppConfig } from '../config/app-config.js';
import { PreheatFailure } from '../domain/errors.js';
import { ClusterKey } from '../peers/access/cluster-key.js';
import { AgentIdentity } from '../peers/agent-identity.js';
import { formatAddress } from '../peers/peer-address.js';
import { PeerService } from '../peers/peer.service.js';
import { PeersModule } from '../peers/peers.module.js';
import { RecordCache as StoredRecords } from '../store/record-cache.js';
import { StoreModule } from '../store/store.module.js';
import { HolderProbe } from './holder-probe.js';
import { KnownNodes } from './known-nodes.js';
import { LockIdentity } from './lock-identity.js';
import { LockModule } from './lock.module.js';
import { RecordCache } from './record-cache.js';
import { RecordKey } from './record-key.js';

const ports: Provider[] = [
  {
    provide: LockIdentity,
    inject: [AppConfig, AgentIdentity],
    useFactory: ({ podIp, port }: AppConfig, { node, instance }: AgentIdentity): LockIdentity => {
      return { node, instance, address: formatAddress({ host: podIp, port }) };
    },
  },
  {
    provide: RecordKey,
    inject: [AppConfig, ClusterKey],
    useFactory: ({ access }: AppConfig, key: ClusterKey): RecordKey => ({
      current: () => {
        if (access.peerAuth === 'none') return Promise.resolve(undefined);
        const keys = key.keysFor('records');
        if (keys.length > 0) return Promise.resolve(keys);
        return Promise.reject(new PreheatFailure('lock_unavailable', 'the peer key could not be read yet'));
      },
      suspect: () => key.suspect(),
    }),
  },
  {
    provide: KnownNodes,
    inject: [PeerService],
    useFactory: (peers: PeerService): KnownNodes => ({ nodes: () => peers.peers().map(({ node }) => node) }),
  },
  { provide: HolderProbe, useExisting: PeerService },
  { provide: RecordCache, useExisting: StoredRecords },
];

const boundLockModule = LockModule.register({ imports: [PeersModule, StoreModule], providers: ports });

/** The lock, among the agents that `peers` knows, with its records kept in the store for bad times. */
@Module({ imports: [boundLockModule], exports: [boundLockModule] })
export class ClusterLockModule {}
