import { Gauge, type Registry } from 'prom-client';

import type { PreheatState } from '../domain/preheat-state.js';
import { SeriesLedger } from './series-ledger.js';

const MAX_SERIES = 1_000;

type Labels = Record<string, string>;

/**
 * What every image is doing now. Of `image_preheat_state` only the current state's series exists, with the value 1:
 * one series per image instead of six, and `count by (state) (image_preheat_state)` is right.
 * An image beyond the bound has no gauges; it still counts in `image_list_images`.
 */
export class StatusMetrics {
  private readonly ledger = new SeriesLedger(MAX_SERIES);
  private readonly states = new Map<string, PreheatState>();
  private readonly state: Gauge;
  private readonly driftGauge: Gauge;
  private readonly uniqueBytesGauge: Gauge;
  private readonly lockHeldGauge: Gauge;
  private readonly pullingGauge: Gauge;

  constructor(
    registry: Registry,
    private readonly node: string,
  ) {
    const gauge = (name: string, help: string, labelNames: string[]): Gauge =>
      new Gauge({ name, help, labelNames, registers: [registry] });
    this.state = gauge(
      'image_preheat_state',
      'The state an image is in: 1 under that state, absent under the others.',
      ['image', 'state'],
    );
    this.driftGauge = gauge(
      'image_preheat_drift',
      '1 when the runtime has another image under the name than the cluster recorded.',
      ['image'],
    );
    this.uniqueBytesGauge = gauge(
      'image_preheat_unique_bytes',
      'Size of the different blobs of an image, for this platform.',
      ['image'],
    );
    this.lockHeldGauge = gauge('image_preheat_lock_held', "1 while this node holds the image's lock.", [
      'image',
    ]);
    this.pullingGauge = gauge('registry_pulling', '1 while this node reads the image from its registry.', [
      'image',
      'node',
    ]);
  }

  preheatState(image: string, state: PreheatState): void {
    const previous = this.states.get(image);
    if (previous === state) return;
    if (previous !== undefined) this.ledger.release('image_preheat_state', { image, state: previous });
    this.states.delete(image);
    if (this.set('image_preheat_state', this.state, { image, state }, 1)) this.states.set(image, state);
  }

  drift(image: string, drifted: boolean): void {
    this.set('image_preheat_drift', this.driftGauge, { image }, Number(drifted));
  }

  uniqueBytes(image: string, bytes: number): void {
    this.set('image_preheat_unique_bytes', this.uniqueBytesGauge, { image }, bytes);
  }

  lockHeld(image: string, held: boolean): void {
    this.set('image_preheat_lock_held', this.lockHeldGauge, { image }, Number(held));
  }

  registryPulling(image: string, active: boolean): void {
    this.set('registry_pulling', this.pullingGauge, { image, node: this.node }, Number(active));
  }

  forgetImage(image: string): void {
    this.states.delete(image);
    this.ledger.forget('image', image);
  }

  private set(name: string, metric: Gauge, labels: Labels, value: number): boolean {
    const claimed = this.ledger.claim(name, metric, labels);
    if (claimed) metric.set(labels, value);
    return claimed;
  }
}
