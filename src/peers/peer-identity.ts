import type { HostPort } from '../config/app-config.js';

/** Version of the protocol between agents; version N works with N − 1 in both directions. */
export const PROTOCOL_VERSION = 1;

/** Who an agent is, as it says itself in every answer to a peer. Addresses say nothing about that. */
export interface PeerIdentity {
  /** `NODE_NAME`; the `peer` label of metrics. */
  readonly node: string;
  /** Random per process: tells a restarted agent from the one before, and an agent from itself. */
  readonly instance: string;
  /** `os/architecture[/variant]` of the node. */
  readonly platform: string;
  readonly protocol: number;
}

/** Another agent that has said who it is, and where it was reached. */
export interface Peer extends PeerIdentity {
  readonly address: HostPort;
}

/** Response headers that carry the identity on every answer to a peer; `node` and `instance` go with requests, too. */
export const IDENTITY_HEADERS = {
  node: 'Preheat-Node',
  instance: 'Preheat-Instance',
  platform: 'Preheat-Platform',
  protocol: 'Preheat-Protocol',
} as const;

export function identityHeaders(identity: PeerIdentity): Record<string, string> {
  return {
    [IDENTITY_HEADERS.node]: identity.node,
    [IDENTITY_HEADERS.instance]: identity.instance,
    [IDENTITY_HEADERS.platform]: identity.platform,
    [IDENTITY_HEADERS.protocol]: String(identity.protocol),
  };
}

/** Visible ASCII without the bytes that headers, labels or logs could trip over. */
export const NODE_NAME = /^[\x21\x23-\x2b\x2d-\x5b\x5d-\x7e]{1,253}$/;
export const INSTANCE = /^[0-9a-f]{32}$/;
