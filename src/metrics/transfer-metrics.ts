import { Counter, Histogram, type Registry } from 'prom-client';

import type { Source } from '../domain/preheat-state.js';
import type { PeerFailureKind } from './peer-failure-kind.js';
import { SeriesLedger } from './series-ledger.js';

/** What stands for every image or peer that has no series of its own any more. */
export const OTHER = 'other';
const MAX_PEERS = 20;
const MAX_SERIES = 1_400;
/** Powers of two: a small image takes a second, a large one over a slow link a quarter of an hour. */
const DURATION_BUCKETS_SECONDS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
/** Buckets, `+Inf`, sum and count. */
const HISTOGRAM_SERIES = DURATION_BUCKETS_SECONDS.length + 3;

type Labels = Record<string, string>;

/**
 * Counters and durations of what was fetched, by image and peer. At most 20 peers have a name at a time; where the
 * series run out, an image's further peers become `peer="other"`, then further images `image="other"`: sums stay true.
 */
export class TransferMetrics {
  private readonly ledger = new SeriesLedger(MAX_SERIES);
  private readonly namedPeers = new Set<string>();
  private readonly registryPulls: Counter;
  private readonly registryPullDuration: Histogram;
  private readonly peerFetches: Counter;
  private readonly peerFetchFailures: Counter;
  private readonly peerFetchDuration: Histogram;
  private readonly preheats: Counter;
  private readonly preheatFailures: Counter;

  constructor(registry: Registry) {
    const registers = [registry];
    const counter = (name: string, help: string, labelNames: string[]): Counter =>
      new Counter({ name, help, labelNames, registers });
    const duration = (name: string, help: string, labelNames: string[]): Histogram =>
      new Histogram({ name, help, labelNames, registers, buckets: DURATION_BUCKETS_SECONDS });
    this.registryPulls = counter('registry_pull_total', 'Pulls of an image from its registry by this node.', [
      'image',
      'result',
    ]);
    this.registryPullDuration = duration(
      'registry_pull_duration_seconds',
      'How long a pull of an image from its registry took.',
      ['image'],
    );
    this.peerFetches = counter('peer_fetch_total', 'Images to which a peer contributed bytes.', [
      'image',
      'peer',
    ]);
    this.peerFetchFailures = counter('peer_fetch_failed_total', 'Fetches from a peer that failed.', [
      'image',
      'peer',
      'reason',
    ]);
    this.peerFetchDuration = duration(
      'peer_fetch_duration_seconds',
      'How long a peer contributed to an image, from its first byte to its last.',
      ['image', 'peer'],
    );
    this.preheats = counter(
      'image_preheat_total',
      'Images made ready, by the farthest source that gave a byte.',
      ['image', 'source'],
    );
    this.preheatFailures = counter(
      'image_preheat_failed_total',
      'Attempts to make an image ready that failed.',
      ['image', 'source'],
    );
  }

  registryPull(image: string, result: 'success' | 'failure', durationMs: number): void {
    this.count('registry_pull_total', this.registryPulls, { image, result });
    this.time('registry_pull_duration_seconds', this.registryPullDuration, { image }, durationMs);
  }

  peerFetch(image: string, peer: string, durationMs: number): void {
    const labels = { image, peer: this.peerLabel(peer) };
    this.count('peer_fetch_total', this.peerFetches, labels);
    this.time('peer_fetch_duration_seconds', this.peerFetchDuration, labels, durationMs);
  }

  peerFetchFailed(image: string, peer: string, reason: PeerFailureKind): void {
    const labels = { image, peer: this.peerLabel(peer), reason };
    this.count('peer_fetch_failed_total', this.peerFetchFailures, labels);
  }

  preheated(image: string, source: Source): void {
    this.count('image_preheat_total', this.preheats, { image, source });
  }

  preheatFailed(image: string, source: Source): void {
    this.count('image_preheat_failed_total', this.preheatFailures, { image, source });
  }

  forgetImage(image: string): void {
    this.ledger.forget('image', image);
  }

  /** Also gives the peer's name to the next one that contributes. */
  forgetPeer(peer: string): void {
    this.namedPeers.delete(peer);
    this.ledger.forget('peer', peer);
  }

  private peerLabel(peer: string): string {
    if (this.namedPeers.has(peer)) return peer;
    if (this.namedPeers.size >= MAX_PEERS) return OTHER;
    this.namedPeers.add(peer);
    return peer;
  }

  private count(name: string, metric: Counter, labels: Labels): void {
    metric.inc(this.affordable(name, metric, labels, 1));
  }

  private time(name: string, metric: Histogram, labels: Labels, durationMs: number): void {
    metric.observe(this.affordable(name, metric, labels, HISTOGRAM_SERIES), durationMs / 1000);
  }

  /** These labels, or the coarser ones that still fit. The coarsest are few and need no claim. */
  private affordable(name: string, metric: Counter | Histogram, labels: Labels, cost: number): Labels {
    if (this.ledger.claim(name, metric, labels, cost)) return labels;
    const withoutPeer = 'peer' in labels ? { ...labels, peer: OTHER } : labels;
    if (this.ledger.claim(name, metric, withoutPeer, cost)) return withoutPeer;
    return { ...withoutPeer, image: OTHER };
  }
}
