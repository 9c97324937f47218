import { VirtualClock } from '../../test/support/virtual-clock.js';
import { PreheatFailure } from '../domain/errors.js';
import type { PreheatMetrics } from '../metrics/preheat-metrics.js';
import { StatusStore } from './status.store.js';

const image = { image: 'docker.io/library/nginx:latest', platform: 'linux/amd64' };

describe('StatusStore', () => {
  let clock: VirtualClock;
  let forgotten: string[];
  let store: StatusStore;
  let lines: unknown[];

  beforeEach(() => {
    clock = new VirtualClock();
    forgotten = [];
    lines = [];
    const metrics: Pick<PreheatMetrics, 'state' | 'drift' | 'forgetImage'> = {
      state: () => undefined,
      drift: () => undefined,
      forgetImage: (name) => forgotten.push(name),
    };
    store = new StatusStore(clock, metrics as PreheatMetrics);
    const log = (line: unknown): void => void lines.push(line);
    Object.assign(store, { logger: { log, warn: log } });
  });

  it('keeps since while the state stays, and what is known of the image across states', async () => {
    store.enter(image, 'fetching', { digest: 'sha256:d' });
    const before = store.get(image);
    await clock.advance(5000);
    store.enter(image, 'fetching');
    expect(store.get(image)?.since).toBe(before?.since);
    store.enter(image, 'ready', { source: 'peer' });
    expect(store.get(image)).toMatchObject({ state: 'ready', digest: 'sha256:d', source: 'peer' });
    expect(store.get(image)?.since).not.toBe(before?.since);
  });

  it('forgets the reason of a failure once the image is in another state', () => {
    store.enter(image, 'failed', { reason: 'not_found', message: 'no', retryAt: 'soon' });
    store.enter(image, 'resolving');
    expect(store.get(image)).not.toHaveProperty('reason');
    expect(store.get(image)).not.toHaveProperty('retryAt');
  });

  it('says when a failed image is tried again', () => {
    store.fail(image, new PreheatFailure('not_found', 'no such tag'), 60_000);
    const retryAt = new Date(clock.wallMs() + 60_000).toISOString();
    expect(store.get(image)).toMatchObject({
      state: 'failed',
      reason: 'not_found',
      message: 'no such tag',
      retryAt,
    });
  });

  it('logs a repeated failure again only after ten minutes, and its tries in between not at all', async () => {
    for (let minute = 0; minute <= 10; minute += 1) {
      store.enter(image, 'resolving');
      store.enter(image, 'failed', { reason: 'not_found', message: 'no' });
      await clock.advance(60_000);
    }
    expect(lines.map((line) => (line as { state: string }).state)).toEqual(['resolving', 'failed', 'failed']);
  });

  it('logs another failure, and the success after it, at once', () => {
    store.enter(image, 'failed', { reason: 'not_found', message: 'no' });
    store.enter(image, 'failed', { reason: 'unauthorized', message: 'no' });
    store.enter(image, 'ready');
    expect(lines).toHaveLength(3);
  });

  it('removes the series of an image with its last platform', () => {
    store.enter(image, 'ready');
    store.forget(image, false);
    expect(forgotten).toEqual([]);
    store.enter(image, 'ready');
    store.forget(image, true);
    expect(forgotten).toEqual([image.image]);
    expect(store.list()).toEqual([]);
  });
});
