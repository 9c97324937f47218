import type { HostPort } from '../config/app-config.js';

/** Finds addresses of agents. They are only addresses: who answers there, self among them, is told by the handshake. */
export interface PeerDiscovery {
  /**
   * IP addresses with ports, without duplicates; host names are resolved.
   * Throws when the look-up failed as a whole: the caller keeps its last list.
   */
  list(signal: AbortSignal): Promise<readonly HostPort[]>;
}
export const PeerDiscovery = Symbol('PeerDiscovery');
