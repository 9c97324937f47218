import { Inject, Injectable } from '@nestjs/common';
import { Counter, Gauge, Registry } from 'prom-client';

import { AppConfig } from '../config/app-config.js';
import type { PreheatState, Source } from '../domain/preheat-state.js';
import type { PeerFailureKind } from './peer-failure-kind.js';
import { StatusMetrics } from './status-metrics.js';
import { TransferMetrics } from './transfer-metrics.js';

/**
 * Every metric of this program but the HTTP and process ones, as typed calls. `image` is always the normalised
 * reference, `peer` a node name. The bounds on series live behind it, so callers need not think of them.
 */
@Injectable()
export class PreheatMetrics {
  private readonly transfer: TransferMetrics;
  private readonly status: StatusMetrics;
  private readonly registryBytesCounter: Counter;
  private readonly peerReceivedCounter: Counter;
  private readonly peerSentCounter: Counter;
  private readonly storeBytesGauge: Gauge;
  private readonly peersGauge: Gauge;
  private readonly listImages: Gauge;
  private readonly listInvalidLines: Gauge;
  private readonly listReloaded: Gauge;

  constructor(registry: Registry, @Inject(AppConfig) config: AppConfig) {
    const registers = [registry];
    const counter = (name: string, help: string): Counter => new Counter({ name, help, registers });
    const gauge = (name: string, help: string): Gauge => new Gauge({ name, help, registers });
    this.transfer = new TransferMetrics(registry);
    this.status = new StatusMetrics(registry, config.nodeName);
    this.registryBytesCounter = counter(
      'image_preheat_registry_bytes_total',
      'Bytes of blobs read from registries, manifests not counted.',
    );
    this.peerReceivedCounter = counter(
      'image_preheat_peer_received_bytes_total',
      'Bytes of blobs received from peers.',
    );
    this.peerSentCounter = counter('image_preheat_peer_sent_bytes_total', 'Bytes of blobs sent to peers.');
    this.storeBytesGauge = gauge('image_preheat_store_bytes', 'Bytes the blob store takes on disk.');
    this.peersGauge = gauge('image_preheat_peers', 'Peers that are known and identified, without this node.');
    this.listImages = gauge('image_list_images', 'Images of the list, without duplicates.');
    this.listInvalidLines = gauge('image_list_invalid_lines', 'Lines of the list that do not parse.');
    this.listReloaded = gauge(
      'image_list_last_reload_timestamp_seconds',
      'When the list was last read with success, as seconds since the epoch.',
    );
  }

  /** One finished pull of an image by the lock holder. */
  registryPull(image: string, result: 'success' | 'failure', durationMs: number): void {
    this.transfer.registryPull(image, result, durationMs);
  }

  registryPulling(image: string, active: boolean): void {
    this.status.registryPulling(image, active);
  }

  /** Once per image and contributing peer. */
  peerFetch(image: string, peer: string, durationMs: number): void {
    this.transfer.peerFetch(image, peer, durationMs);
  }

  peerFetchFailed(image: string, peer: string, reason: PeerFailureKind): void {
    this.transfer.peerFetchFailed(image, peer, reason);
  }

  preheated(image: string, source: Source): void {
    this.transfer.preheated(image, source);
  }

  preheatFailed(image: string, source: Source): void {
    this.transfer.preheatFailed(image, source);
  }

  state(image: string, state: PreheatState): void {
    this.status.preheatState(image, state);
  }

  drift(image: string, drifted: boolean): void {
    this.status.drift(image, drifted);
  }

  uniqueBytes(image: string, bytes: number): void {
    this.status.uniqueBytes(image, bytes);
  }

  lockHeld(image: string, held: boolean): void {
    this.status.lockHeld(image, held);
  }

  registryBytes(bytes: number): void {
    this.registryBytesCounter.inc(bytes);
  }

  peerReceivedBytes(bytes: number): void {
    this.peerReceivedCounter.inc(bytes);
  }

  peerSentBytes(bytes: number): void {
    this.peerSentCounter.inc(bytes);
  }

  storeBytes(bytes: number): void {
    this.storeBytesGauge.set(bytes);
  }

  peers(count: number): void {
    this.peersGauge.set(count);
  }

  /** @param reloadedAtMs wall-clock time of the last good reload */
  imageList(images: number, invalidLines: number, reloadedAtMs: number): void {
    this.listImages.set(images);
    this.listInvalidLines.set(invalidLines);
    this.listReloaded.set(reloadedAtMs / 1000);
  }

  /** Removes every series of an image that left the list. A later call about it would bring them back. */
  forgetImage(image: string): void {
    this.transfer.forgetImage(image);
    this.status.forgetImage(image);
  }

  /** Removes every series of a peer that is gone. */
  forgetPeer(peer: string): void {
    this.transfer.forgetPeer(peer);
  }
}
