import { Module, type Provider } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';

import { AppConfig } from '../config/app-config.js';
import { KubernetesClient } from '../kubernetes/kubernetes-client.js';
import { KubernetesModule } from '../kubernetes/kubernetes.module.js';
import { KeyFile } from '../store/key-file.js';
import { StoreModule } from '../store/store.module.js';
import { AccessGuard } from './access/access.guard.js';
import { ApiTokenGuard } from './access/api-token.guard.js';
import { ClusterKey } from './access/cluster-key.js';
import { FileKeySource } from './access/file-key-source.js';
import { KeySource } from './access/key-source.js';
import { KubernetesKeySecret } from './access/kubernetes-key-secret.js';
import { PeerGuard } from './access/peer.guard.js';
import { PeerOrTokenGuard } from './access/peer-or-token.guard.js';
import { ReadGuard } from './access/read.guard.js';
import { SecretKeySource } from './access/secret-key-source.js';
import { AgentIdentity } from './agent-identity.js';
import { AvailabilityClient } from './client/availability-client.js';
import { OutgoingSessions } from './client/outgoing-sessions.js';
import { PeerCaller } from './client/peer-caller.js';
import { PeerClient } from './client/peer-client.js';
import { PeerHandshake } from './client/peer-handshake.js';
import { PeerTransport } from './client/peer-transport.js';
import { DnsDiscovery } from './dns/dns-discovery.js';
import { PeerDirectory } from './peer-directory.js';
import { PeerDiscovery } from './peer-discovery.js';
import { PeerProbe } from './peer-probe.js';
import { PeerRefreshService } from './peer-refresh.service.js';
import { PeerService } from './peer.service.js';
import { IncomingSessions } from './session/incoming-sessions.js';
import { SessionController } from './session/session.controller.js';
import { StaticDiscovery } from './static/static-discovery.js';
import { SwarmSource } from './swarm/swarm-source.js';
import { AgentCertificates } from './tls/agent-certificates.js';

const keySource: Provider = {
  provide: KeySource,
  inject: [AppConfig, KubernetesClient, KeyFile],
  useFactory: ({ access, kubernetes }: AppConfig, client: KubernetesClient, kept: KeyFile): KeySource =>
    access.secretsFrom === 'kubernetes'
      ? new SecretKeySource(new KubernetesKeySecret(client, kubernetes.keySecret), kept)
      : new FileKeySource(access.peerKeyFile, access.apiTokenFile),
};

const discovery: Provider = {
  provide: PeerDiscovery,
  inject: [AppConfig],
  useFactory: ({ peers, port }: AppConfig): PeerDiscovery =>
    peers.discovery === 'dns'
      ? new DnsDiscovery({ serviceName: peers.serviceName, port })
      : new StaticDiscovery(peers.static),
};

/**
 * The other agents, and the door that they and everyone else come in by. `PeerApiModule` adds what is answered to
 * them.
 */
@Module({
  imports: [KubernetesModule, StoreModule],
  controllers: [SessionController],
  providers: [
    keySource,
    discovery,
    AgentIdentity,
    AgentCertificates,
    ClusterKey,
    IncomingSessions,
    PeerGuard,
    ApiTokenGuard,
    PeerOrTokenGuard,
    ReadGuard,
    AccessGuard,
    { provide: APP_GUARD, useExisting: AccessGuard },
    PeerTransport,
    PeerHandshake,
    OutgoingSessions,
    PeerCaller,
    PeerClient,
    AvailabilityClient,
    PeerDirectory,
    PeerProbe,
    PeerRefreshService,
    PeerService,
    SwarmSource,
  ],
  exports: [
    AgentIdentity,
    AgentCertificates,
    ClusterKey,
    AccessGuard,
    ReadGuard,
    PeerProbe,
    PeerService,
    SwarmSource,
  ],
})
export class PeersModule {}
