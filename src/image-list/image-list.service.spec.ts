import { appendFile, mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { Logger } from '@nestjs/common';
import { Registry } from 'prom-client';

import { type Clock, systemClock } from '../common/clock.js';
import type { AppConfig } from '../config/app-config.js';
import { PreheatMetrics } from '../metrics/preheat-metrics.js';
import { ImageListService, type ImageListSnapshot, POLL_INTERVAL_MS } from './image-list.service.js';

/** The poll, ten times as often. */
const hurriedClock: Clock = {
  ...systemClock,
  sleep: (durationMs, signal) => systemClock.sleep(durationMs / 10, signal),
};

/** The poll's time never comes: what happens, an event has brought. */
const eventsOnlyClock: Clock = {
  ...systemClock,
  sleep: (durationMs, signal) =>
    durationMs < POLL_INTERVAL_MS ? systemClock.sleep(durationMs, signal) : untilAborted(signal),
};

function untilAborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}

/** Real files and the real kernel's events: what is under test is what they do. */
describe('ImageListService', () => {
  let directory: string;
  let path: string;
  let service: ImageListService;
  let registry: Registry;
  let changes: ImageListSnapshot[];

  beforeAll(() => {
    Logger.overrideLogger(false);
  });
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'image-list-'));
    path = join(directory, 'images.list');
    changes = [];
  });
  afterEach(async () => {
    await service.onModuleDestroy();
    await rm(directory, { recursive: true, force: true });
  });

  async function start(listPath = path, clock: Clock = eventsOnlyClock): Promise<void> {
    const config = {
      imageListPath: listPath,
      nodeName: 'n',
      platform: { os: 'linux', architecture: 'amd64' },
    } as AppConfig;
    registry = new Registry();
    service = new ImageListService(config, clock, new PreheatMetrics(registry, config));
    service.onChange((snapshot) => changes.push(snapshot));
    await service.onModuleInit();
  }
  const names = (): string[] =>
    service.entries.map(({ reference }) => reference.repository.split('/').at(-1) ?? '');

  /** Waits for what must happen; Jest's time-out ends the wait for what does not. */
  async function expectSoon(condition: () => boolean): Promise<void> {
    while (!condition()) await sleep(10);
  }

  it('has the list before the application listens, and counts it', async () => {
    await writeFile(path, 'nginx\nBAD\nredis\n');
    await start();
    expect(names()).toEqual(['nginx', 'redis']);
    expect(service.snapshot.invalidLines).toHaveLength(1);
    expect(service.snapshot.loadedAtMs).toBeGreaterThan(0);
    const text = await registry.metrics();
    expect(text).toContain('image_list_images 2');
    expect(text).toContain('image_list_invalid_lines 1');
    expect(text).toMatch(/image_list_last_reload_timestamp_seconds 1\d{9}/);
  });

  it('takes a plain write, an append and a rename over it', async () => {
    await writeFile(path, 'a\n');
    await start();
    await writeFile(path, 'b\n');
    await expectSoon(() => names().join() === 'b');
    await appendFile(path, 'c\n');
    await expectSoon(() => names().join() === 'b,c');
    await writeFile(`${path}.new`, 'd\n');
    await rename(`${path}.new`, path);
    await expectSoon(() => names().join() === 'd');
    expect(changes).toHaveLength(4);
  });

  it('takes the swap of a ConfigMap mount', async () => {
    // As kubelet lays it out: the file is a link into ..data, which is a link to a directory named by time.
    const publish = async (version: string, text: string): Promise<void> => {
      await mkdir(join(directory, version));
      await writeFile(join(directory, version, 'images.list'), text);
      await symlink(version, join(directory, '..data_tmp'));
      await rename(join(directory, '..data_tmp'), join(directory, '..data'));
    };
    await publish('..2026_01_01', 'a\n');
    await symlink('..data/images.list', path);
    await start();
    expect(names()).toEqual(['a']);
    await publish('..2026_01_02', 'b\n');
    await rm(join(directory, '..2026_01_01'), { recursive: true });
    await expectSoon(() => names().join() === 'b');
    await publish('..2026_01_03', 'c\n');
    await expectSoon(() => names().join() === 'c');
  });

  it('sees a change behind a link to another directory, where no event comes from', async () => {
    await mkdir(join(directory, 'real'));
    await mkdir(join(directory, 'seen'));
    await writeFile(join(directory, 'real', 'list'), 'a\n');
    await symlink('../real/list', join(directory, 'seen', 'images.list'));
    await start(join(directory, 'seen', 'images.list'), hurriedClock);
    await writeFile(join(directory, 'real', 'list'), 'b\n');
    await expectSoon(() => names().join() === 'b');
  });

  it('keeps the last list while the file or its directory is gone, and goes on when they are back', async () => {
    const mount = join(directory, 'mount');
    await start(join(mount, 'images.list'), hurriedClock);
    expect(service.snapshot).toMatchObject({
      entries: [],
      error: expect.stringContaining('there is no file') as string,
    });
    expect(service.snapshot.loadedAtMs).toBeUndefined();

    await mkdir(mount);
    await writeFile(join(mount, 'images.list'), 'a\n');
    await expectSoon(() => names().join() === 'a');
    expect(service.snapshot.error).toBeUndefined();

    await rm(join(mount, 'images.list'));
    await expectSoon(() => service.snapshot.error !== undefined);
    expect(names()).toEqual(['a']);

    await rm(mount, { recursive: true });
    await mkdir(mount);
    await writeFile(join(mount, 'images.list'), 'a\n');
    await expectSoon(() => service.snapshot.error === undefined);
    expect(changes).toHaveLength(1);

    await sleep(300);
    await writeFile(join(mount, 'images.list'), 'b\n');
    await expectSoon(() => names().join() === 'b');
  });

  it('empties the list with the file, but keeps it when the file cannot be a list', async () => {
    await writeFile(path, 'a\n');
    await start();
    await writeFile(path, 'x'.repeat(1024 * 1024 + 1));
    await expectSoon(() => service.snapshot.error !== undefined);
    expect(service.snapshot.error).toBe('the image list has 1.0 MiB; at most 1 MiB is accepted');
    expect(names()).toEqual(['a']);
    await writeFile(path, '');
    await expectSoon(() => service.snapshot.error === undefined);
    expect(names()).toEqual([]);
  });

  it('does not take half of a write for a list', async () => {
    await writeFile(path, 'a\n');
    let appended: Promise<void> | undefined;
    await start(path, {
      ...eventsOnlyClock,
      sleep: async (durationMs, signal) => {
        // While the service waits for the file to settle, the rest of it is written.
        if (durationMs < POLL_INTERVAL_MS) await (appended ??= appendFile(path, 'nx\n'));
        await eventsOnlyClock.sleep(durationMs, signal);
      },
    });
    await writeFile(path, 'ngi');
    await expectSoon(() => names().join() === 'nginx');
    expect(changes.map(({ entries }) => entries.map(({ line }) => line))).toHaveLength(2);
  });

  it('goes on when a listener throws, and stops calling one that has left', async () => {
    await writeFile(path, 'a\n');
    await start();
    service.onChange(() => {
      throw new Error('listener');
    });
    const late: number[] = [];
    const unsubscribe = service.onChange(({ entries }) => late.push(entries.length));
    await writeFile(path, 'a\nb\n');
    await expectSoon(() => late.length === 1);
    unsubscribe();
    await writeFile(path, 'c\n');
    await expectSoon(() => changes.length === 3);
    expect(late).toEqual([2]);
  });

  it('stops without waiting for any of its pauses, in the middle of a check too', async () => {
    await writeFile(path, 'a\n');
    // Time stands still: a stop that waited for it would not end.
    let pauses = 0;
    const sleepForever = (_durationMs: number, signal?: AbortSignal): Promise<never> => {
      pauses += 1;
      return untilAborted(signal);
    };
    await start(path, { ...systemClock, sleep: sleepForever });
    await writeFile(path, 'b\n');
    await expectSoon(() => pauses === 2);
    await service.onModuleDestroy();
    expect(names()).toEqual(['a']);
  });
});
