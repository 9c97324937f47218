import { setImmediate } from 'node:timers/promises';

import { Logger } from '@nestjs/common';

import { VirtualClock } from '../../test/support/virtual-clock.js';
import { wantedImage } from '../../test/support/wanted-image.js';
import { PreheatFailure } from '../domain/errors.js';
import { parseImageReference } from '../domain/image-reference.js';
import type { ImageListEntry } from '../image-list/image-list.js';
import type { ImageListService } from '../image-list/image-list.service.js';
import type { PreheatMetrics } from '../metrics/preheat-metrics.js';
import type { RuntimeSnapshot } from '../runtime/image-runtime.js';
import { PreheatService } from './preheat.service.js';
import type { PreheatRunner } from './preheat.runner.js';
import type { Presence, ReadyImages } from './ready-images.js';
import type { RuntimeInventory } from './runtime-inventory.js';
import { StatusStore } from './status.store.js';
import type { Upkeep } from './upkeep.js';
import { keyOf } from './wanted-image.js';
import { WantedImages } from './wanted-images.js';

const PERIOD_MS = 60_000;
const platform = { os: 'linux', architecture: 'amd64' };
const { signal } = new AbortController();

interface RunningTask {
  readonly image: string;
  readonly signal: AbortSignal;
  readonly end: () => void;
}

describe('PreheatService', () => {
  let clock: VirtualClock;
  let entries: readonly ImageListEntry[];
  let present: Map<string, Presence['kind'] | Error>;
  let runtimeFailure: PreheatFailure | undefined;
  let tasks: RunningTask[];
  /** What happened, in order. */
  let events: string[];
  let wanted: WantedImages;
  let status: StatusStore;
  let service: PreheatService;

  beforeAll(() => {
    Logger.overrideLogger(false);
  });
  beforeEach(() => {
    clock = new VirtualClock();
    entries = [];
    present = new Map();
    runtimeFailure = undefined;
    tasks = [];
    events = [];
    const list = {
      get snapshot() {
        return { entries };
      },
    };
    wanted = new WantedImages({ platform, pullingTimeoutMs: 300_000 }, list as ImageListService);
    const metrics: Partial<PreheatMetrics> = {
      state: () => undefined,
      drift: () => undefined,
      forgetImage: () => undefined,
    };
    status = new StatusStore(clock, metrics as PreheatMetrics);
    const snapshot: RuntimeSnapshot = { identifiesBy: 'config', images: new Map() };
    const inventory: Partial<RuntimeInventory> = {
      snapshot: () => (runtimeFailure ? Promise.reject(runtimeFailure) : Promise.resolve(snapshot)),
    };
    const runner: Partial<PreheatRunner> = {
      run: ({ image }, abort) =>
        new Promise((resolve, reject) => {
          events.push(`start ${image}`);
          tasks.push({ image, signal: abort, end: () => resolve() });
          abort.addEventListener('abort', () => reject(abort.reason as Error));
        }),
    };
    const ready: Partial<ReadyImages> = {
      recognise: (image) => {
        const kind = present.get(image.image) ?? 'missing';
        if (kind instanceof Error) return Promise.reject(kind);
        if (kind === 'ready') status.enter(keyOf(image), 'ready');
        return Promise.resolve({ kind } as Presence);
      },
    };
    const upkeep: Partial<Upkeep> = {
      protectWanted: () => void events.push('protect'),
      tidy: () => Promise.resolve(void events.push('tidy')),
    };
    service = new PreheatService(
      wanted,
      inventory as RuntimeInventory,
      status,
      runner as PreheatRunner,
      ready as ReadyImages,
      upkeep as Upkeep,
    );
  });

  const list = (...texts: string[]): void => {
    entries = texts.map((text) => {
      const { image, reference } = wantedImage(text);
      return { image, reference, platform, priority: 0, line: 1 };
    });
  };
  const name = (text: string): string => wantedImage(text).image;
  const check = (): Promise<void> => service.check(PERIOD_MS, signal);
  const states = (): Record<string, string> =>
    Object.fromEntries(status.list().map(({ image, state }) => [image, state]));
  const started = (): string[] => tasks.map(({ image }) => image);
  async function end(task: RunningTask | undefined): Promise<void> {
    task?.end();
    await setImmediate();
  }

  it('starts one task for each missing image, however often it checks', async () => {
    list('there:1', 'missing:1', 'unnamed:1');
    present.set(name('there:1'), 'ready').set(name('unnamed:1'), 'unnamed');
    await check();
    await check();
    expect(started()).toEqual([name('missing:1'), name('unnamed:1')]);
  });

  it('tells the store what is wanted before any image is fetched, also while the runtime is down', async () => {
    list('missing:1');
    await check();
    expect(events).toEqual(['protect', `start ${name('missing:1')}`, 'tidy']);
    events.length = 0;
    runtimeFailure = new PreheatFailure('runtime_unreachable', 'down');
    await check();
    expect(events).toEqual(['protect']);
  });

  it('says of each image without a task that the runtime is down, and when it looks again', async () => {
    list('there:1', 'missing:1');
    present.set(name('there:1'), 'ready');
    await check();
    runtimeFailure = new PreheatFailure('runtime_unreachable', 'down');
    await check();
    expect(status.get(keyOf(wantedImage('there:1')))).toMatchObject({
      state: 'failed',
      reason: 'runtime_unreachable',
      message: 'down',
      retryAt: new Date(clock.wallMs() + PERIOD_MS).toISOString(),
    });
    expect(states()[name('missing:1')]).toBe('pending');
    runtimeFailure = undefined;
    await check();
    expect(states()[name('there:1')]).toBe('ready');
  });

  it('goes on with the others when one image cannot be looked at', async () => {
    list('odd:1', 'missing:1');
    present.set(name('odd:1'), new Error('EIO'));
    await check();
    expect(started()).toEqual([name('missing:1')]);
    expect(events.at(-1)).toBe('tidy');
  });

  it('fetches a listed image again that somebody removed', async () => {
    list('app:1');
    present.set(name('app:1'), 'ready');
    await check();
    present.clear();
    await check();
    expect(started()).toEqual([name('app:1')]);
  });

  it('fetches a requested image once: one that is removed later is let go', async () => {
    service.request([parseImageReference('asked:1')]);
    await check();
    expect(started()).toEqual([name('asked:1')]);
    await end(tasks[0]);
    present.set(name('asked:1'), 'ready');
    await check();
    expect(states()).toEqual({ [name('asked:1')]: 'ready' });
    present.clear();
    await check();
    await check();
    expect(started()).toHaveLength(1);
    expect(states()).toEqual({});
    expect(wanted.find(name('asked:1'))).toBeUndefined();
    service.request([parseImageReference('asked:1')]);
    await check();
    expect(started()).toHaveLength(2);
  });

  it('lets go of what left the list: its task ends, its state is gone', async () => {
    list('app:1', 'other:1');
    await check();
    list('other:1');
    await check();
    expect(tasks[0]?.signal.aborted).toBe(true);
    expect(tasks[1]?.signal.aborted).toBe(false);
    expect(Object.keys(states())).toEqual([name('other:1')]);
  });

  it('ends all tasks when it stops, and starts none any more', async () => {
    list('app:1', 'other:1');
    await check();
    await service.stop();
    expect(tasks.every((task) => task.signal.aborted)).toBe(true);
    await check();
    expect(tasks).toHaveLength(2);
  });
});
