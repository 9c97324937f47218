import { setImmediate } from 'node:timers/promises';

import { Logger } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';

import type { AppConfig } from '../config/app-config.js';
import type { ImageListService } from '../image-list/image-list.service.js';
import { PreheatScheduler } from './preheat.scheduler.js';
import type { PreheatService } from './preheat.service.js';

beforeAll(() => {
  Logger.overrideLogger(false);
});

describe('PreheatScheduler', () => {
  /** The checks so far; a test ends them. */
  let checks: { readonly signal: AbortSignal; readonly end: (error?: Error) => void }[];
  let stops: number;
  let listeners: Set<() => void>;
  let timers: SchedulerRegistry;
  let scheduler: PreheatScheduler;

  beforeEach(() => {
    checks = [];
    stops = 0;
    listeners = new Set();
    timers = new SchedulerRegistry();
    const list: Pick<ImageListService, 'onChange'> = {
      onChange: (listener) => {
        listeners.add(listener as () => void);
        return () => listeners.delete(listener as () => void);
      },
    };
    const preheat: Pick<PreheatService, 'check' | 'stop'> = {
      check: (_periodMs, signal) =>
        new Promise((resolve, reject) => {
          checks.push({ signal, end: (error) => (error ? reject(error) : resolve()) });
        }),
      stop: () => {
        stops += 1;
        return Promise.resolve();
      },
    };
    scheduler = new PreheatScheduler(
      { intervalMs: 3_600_000 } as AppConfig,
      timers,
      list as ImageListService,
      preheat as PreheatService,
    );
  });

  afterEach(async () => {
    for (const check of checks) check.end();
    await scheduler.stop();
  });

  it('checks at the start, and when the list has changed', async () => {
    scheduler.start();
    expect(checks).toHaveLength(1);
    checks[0]?.end();
    await setImmediate();
    for (const listener of listeners) listener();
    expect(checks).toHaveLength(2);
  });

  it('lets no checks overlap; whatever happens during one makes one more follow', async () => {
    scheduler.start();
    scheduler.trigger();
    scheduler.trigger();
    await setImmediate();
    expect(checks).toHaveLength(1);
    checks[0]?.end();
    await setImmediate();
    expect(checks).toHaveLength(2);
    checks[1]?.end();
    await setImmediate();
    expect(checks).toHaveLength(2);
  });

  it('goes on after a check that failed', async () => {
    scheduler.start();
    checks[0]?.end(new Error('no such luck'));
    await setImmediate();
    scheduler.trigger();
    expect(checks).toHaveLength(2);
  });

  it('ends the tasks at once when it stops, though the check under way hangs, and waits for both', async () => {
    scheduler.start();
    let isStopped = false;
    const stopped = scheduler.stop().then(() => (isStopped = true));
    expect(stops).toBe(1);
    expect(checks[0]?.signal.aborted).toBe(true);
    await setImmediate();
    expect(isStopped).toBe(false);
    checks[0]?.end(checks[0].signal.reason as Error);
    await stopped;
  });

  it('starts nothing any more once it has stopped', async () => {
    scheduler.start();
    checks[0]?.end();
    await scheduler.stop();
    scheduler.trigger();
    expect(checks).toHaveLength(1);
    expect(listeners.size).toBe(0);
    expect(timers.getIntervals()).toEqual([]);
  });
});
