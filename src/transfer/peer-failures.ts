import { reasonOf } from '../domain/errors.js';
import type { PreheatMetrics } from '../metrics/preheat-metrics.js';
import { PeerError } from '../peers/peer-error.js';

/** Counts the failures of peers at one image: once per peer and reason, however many of its blobs or chunks they met. */
export class PeerFailures {
  private readonly counted = new Set<string>();

  constructor(
    private readonly image: string,
    private readonly metrics: Pick<PreheatMetrics, 'peerFetchFailed'>,
  ) {}

  /** @param peer its node name */
  count(peer: string, error: unknown): void {
    const reason = kindOf(error);
    const key = `${peer} ${reason}`;
    if (this.counted.has(key)) return;
    this.counted.add(key);
    this.metrics.peerFetchFailed(this.image, peer, reason);
  }
}

function kindOf(error: unknown): PeerError['kind'] {
  if (error instanceof PeerError) return error.kind;
  const reason = reasonOf(error, 'no_source');
  return reason === 'timeout' || reason === 'corrupt' ? reason : 'network';
}
