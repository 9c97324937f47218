import { isIP } from 'node:net';

import type { AppConfig } from './app-config.js';
import type { EnvironmentReader } from './environment-reader.js';
import { SETTING } from './environment-variables.js';
import type { HostFacts } from './host-facts.js';
import * as types from './setting-type.js';

type Network = Pick<AppConfig, 'nodeName' | 'podIp' | 'host' | 'port' | 'mirrorPort'> & {
  readonly access: Pick<AppConfig['access'], 'peerAuth'>;
};

/** Who this node is, where it listens and where others reach it, and whether that is safe without a key. */
export function resolveNetwork(reader: EnvironmentReader, facts: HostFacts, inCluster: boolean): Network {
  if (inCluster) {
    for (const [name, field] of [
      ['NODE_NAME', 'spec.nodeName'],
      ['POD_IP', 'status.podIP'],
    ] as const) {
      if (!reader.isSet(name)) reader.report(name, `the Downward API's ${field} (needed in a cluster)`);
    }
  }
  const listen = reader.read('HOST', types.listenAddress);
  const podIp = reader.read('POD_IP', types.ipAddress);
  const host = listen ?? (inCluster ? (podIp ?? '127.0.0.1') : '127.0.0.1');
  const port = reader.read('PORT', types.port) ?? 8080;
  const mirrorPort = reader.read('MIRROR_PORT', types.port) ?? 5051;
  if (port === mirrorPort && (types.isLoopback(host) || types.isUnspecified(host))) {
    reader.report('MIRROR_PORT', `another port than PORT (${port}), which takes 127.0.0.1 too`);
  }
  return {
    nodeName: reader.read('NODE_NAME', types.nodeName) ?? facts.hostName,
    podIp: podIp ?? reachableAddress(reader, host, facts, inCluster),
    host,
    port,
    mirrorPort,
    access: { peerAuth: peerAuth(reader, host, inCluster) },
  };
}

/** `HOST` when it is one address, else the machine's only one: guessing among several would send peers astray. */
function reachableAddress(
  reader: EnvironmentReader,
  host: string,
  { addresses }: HostFacts,
  inCluster: boolean,
): string {
  if (isIP(host) !== 0 && !types.isUnspecified(host)) return host;
  const [only, ...others] = addresses;
  if (only !== undefined && others.length === 0) return only;
  if (!reader.isSet('POD_IP') && !inCluster) {
    reader.report(
      'POD_IP',
      `the one address that peers reach this agent at: ${addresses.join(', ') || 'this machine has none beside loopback'}`,
    );
  }
  return host;
}

function peerAuth(reader: EnvironmentReader, host: string, inCluster: boolean): 'key' | 'none' {
  const chosen = reader.read('PEER_AUTH', SETTING.peerAuth);
  if (chosen !== undefined) return chosen;
  if (inCluster || reader.isSet('PEER_KEY_FILE')) return 'key';
  if (!types.isLoopback(host) && !reader.isSet('PEER_AUTH')) {
    reader.report(
      'PEER_AUTH',
      `with HOST=${host}, which others can reach, outside a cluster: "key" with PEER_KEY_FILE=<file>, ` +
        `or "none" to let everyone download every image of this node; or HOST=127.0.0.1`,
    );
  }
  return 'none';
}
