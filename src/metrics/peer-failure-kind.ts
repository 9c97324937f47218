/** Why a fetch from a peer failed: the `reason` label of `peer_fetch_failed_total`. */
export type PeerFailureKind = 'network' | 'timeout' | 'http' | 'corrupt' | 'auth' | 'full';
