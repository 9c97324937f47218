import { Registry } from 'prom-client';

import type { AppConfig } from '../config/app-config.js';
import { PREHEAT_STATES } from '../domain/preheat-state.js';
import { PreheatMetrics } from './preheat-metrics.js';

const IMAGE = 'docker.io/library/nginx:latest';

describe('PreheatMetrics', () => {
  let registry: Registry;
  let metrics: PreheatMetrics;

  beforeEach(() => {
    registry = new Registry();
    metrics = new PreheatMetrics(registry, { nodeName: 'node-1' } as AppConfig);
  });

  async function seriesOf(name: string): Promise<{ labels: Record<string, unknown>; value: number }[]> {
    const metric = await registry.getSingleMetric(name)!.get();
    return metric.values.map(({ labels, value }) => ({ labels: { ...labels }, value }));
  }

  async function seriesCount(): Promise<number> {
    const text = await registry.metrics();
    return text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length;
  }

  it('has every metric of the contract with exactly its labels', async () => {
    metrics.registryPull(IMAGE, 'success', 3_000);
    metrics.registryPulling(IMAGE, true);
    metrics.peerFetch(IMAGE, 'node-2', 500);
    metrics.peerFetchFailed(IMAGE, 'node-2', 'timeout');
    metrics.preheated(IMAGE, 'peer');
    metrics.preheatFailed(IMAGE, 'registry');
    metrics.state(IMAGE, 'ready');
    metrics.drift(IMAGE, true);
    metrics.uniqueBytes(IMAGE, 10);
    metrics.lockHeld(IMAGE, false);
    metrics.registryBytes(1);
    metrics.peerReceivedBytes(2);
    metrics.peerSentBytes(3);
    metrics.storeBytes(4);
    metrics.peers(5);
    metrics.imageList(6, 7, 8_000);
    const text = await registry.metrics();
    for (const line of [
      `registry_pull_total{image="${IMAGE}",result="success"} 1`,
      `registry_pull_duration_seconds_bucket{le="2",image="${IMAGE}"} 0`,
      `registry_pull_duration_seconds_bucket{le="4",image="${IMAGE}"} 1`,
      `registry_pull_duration_seconds_sum{image="${IMAGE}"} 3`,
      `registry_pulling{image="${IMAGE}",node="node-1"} 1`,
      `peer_fetch_total{image="${IMAGE}",peer="node-2"} 1`,
      `peer_fetch_failed_total{image="${IMAGE}",peer="node-2",reason="timeout"} 1`,
      `peer_fetch_duration_seconds_bucket{le="1024",image="${IMAGE}",peer="node-2"} 1`,
      `image_preheat_total{image="${IMAGE}",source="peer"} 1`,
      `image_preheat_failed_total{image="${IMAGE}",source="registry"} 1`,
      `image_preheat_state{image="${IMAGE}",state="ready"} 1`,
      `image_preheat_drift{image="${IMAGE}"} 1`,
      `image_preheat_unique_bytes{image="${IMAGE}"} 10`,
      `image_preheat_lock_held{image="${IMAGE}"} 0`,
      'image_preheat_registry_bytes_total 1',
      'image_preheat_peer_received_bytes_total 2',
      'image_preheat_peer_sent_bytes_total 3',
      'image_preheat_store_bytes 4',
      'image_preheat_peers 5',
      'image_list_images 6',
      'image_list_invalid_lines 7',
      'image_list_last_reload_timestamp_seconds 8',
    ]) {
      expect(text.split('\n')).toContain(line);
    }
  });

  it('has one series per image in image_preheat_state, whatever it went through', async () => {
    for (const state of [...PREHEAT_STATES, 'ready', 'ready', 'pending'] as const) {
      metrics.state(IMAGE, state);
      expect(await seriesOf('image_preheat_state')).toEqual([{ labels: { image: IMAGE, state }, value: 1 }]);
    }
  });

  it('removes every series of a forgotten image and leaves the others', async () => {
    for (const image of [IMAGE, 'other.example/app:1']) {
      metrics.state(image, 'ready');
      metrics.registryPull(image, 'success', 1);
      metrics.peerFetch(image, 'node-2', 1);
      metrics.lockHeld(image, true);
    }
    metrics.forgetImage(IMAGE);
    const text = await registry.metrics();
    expect(text).not.toContain(IMAGE);
    expect(text).toContain('image_preheat_state{image="other.example/app:1",state="ready"} 1');
    metrics.state(IMAGE, 'pending');
    expect(await registry.metrics()).toContain(`image_preheat_state{image="${IMAGE}",state="pending"} 1`);
  });

  it('names 20 peers and adds the others up; a forgotten one makes room for the next', async () => {
    for (let peer = 1; peer <= 23; peer += 1) metrics.peerFetch(IMAGE, `node-${peer}`, 1);
    const peers = async (): Promise<unknown[]> =>
      (await seriesOf('peer_fetch_total')).map(({ labels }) => labels['peer']);
    expect(await peers()).toHaveLength(21);
    expect(await registry.metrics()).toContain(`peer_fetch_total{image="${IMAGE}",peer="other"} 3`);
    metrics.forgetPeer('node-1');
    expect(await registry.metrics()).not.toContain('peer="node-1"');
    metrics.peerFetch(IMAGE, 'node-23', 1);
    expect(await peers()).toContain('node-23');
  });

  it('stays below 2,500 series with 1,000 images and 100 peers, and loses no count', async () => {
    for (let number = 0; number < 1_000; number += 1) {
      const image = `registry.example/app-${number}:1`;
      metrics.state(image, 'ready');
      metrics.drift(image, false);
      metrics.uniqueBytes(image, 1);
      metrics.lockHeld(image, true);
      metrics.registryPulling(image, false);
      metrics.registryPull(image, 'success', 1);
      metrics.preheated(image, 'registry');
      for (const peer of ['a', 'b']) {
        metrics.peerFetch(image, `node-${peer}-${number % 100}`, 1);
        metrics.peerFetchFailed(image, `node-${peer}-${number % 100}`, 'http');
      }
    }
    expect(await seriesCount()).toBeLessThan(2_500);
    const sum = (await seriesOf('peer_fetch_total')).reduce((total, { value }) => total + value, 0);
    expect(sum).toBe(2_000);
    for (let number = 0; number < 1_000; number += 1) metrics.forgetImage(`registry.example/app-${number}:1`);
    metrics.state(IMAGE, 'ready');
    metrics.peerFetch(IMAGE, 'node-a-1', 1);
    expect(await registry.metrics()).toContain(`image="${IMAGE}",peer="node-a-1"`);
  });
});
