import { PassThrough } from 'node:stream';
import { setImmediate } from 'node:timers/promises';

import { TINY_PLATFORM } from '../../test/support/tiny-image.js';
import { VirtualClock } from '../../test/support/virtual-clock.js';
import { PreheatFailure } from '../domain/errors.js';
import { parseImageReference } from '../domain/image-reference.js';
import type { RuntimeInventory } from '../preheat/runtime-inventory.js';
import type { WantedImage } from '../preheat/wanted-image.js';
import type { ImageRuntime } from '../runtime/image-runtime.js';
import type { RuntimeLoad } from '../store/runtime-disk.js';
import type { StoreSpace } from '../store/store-space.js';
import { RuntimeExporter } from './runtime-exporter.js';

const SIGNAL = new AbortController().signal;
const wanted = (image: string): WantedImage => ({
  image,
  reference: parseImageReference(image),
  platform: TINY_PLATFORM,
  priority: 0,
  timeoutMs: 1,
});
const A = wanted('docker.io/library/a:1');
const B = wanted('docker.io/library/b:1');

describe('RuntimeExporter', () => {
  let clock: VirtualClock;
  let exported: { readonly name: string; readonly stream: PassThrough }[];
  let reserved: RuntimeLoad[];
  let refuse: Error | undefined;
  let exporter: RuntimeExporter;

  beforeEach(() => {
    clock = new VirtualClock();
    exported = [];
    reserved = [];
    refuse = undefined;
    const runtime = {
      export: (name: string) => {
        if (refuse) return Promise.reject(refuse);
        const stream = new PassThrough();
        exported.push({ name, stream });
        return Promise.resolve(stream);
      },
    } as unknown as ImageRuntime;
    const id = `sha256:${'a'.repeat(64)}` as const;
    const snapshot = {
      identifiesBy: 'config',
      rootDirectory: '/var/lib/docker',
      images: new Map([
        [A.image, { id, stagedBytes: 700 }],
        [B.image, { id, stagedBytes: 500 }],
      ]),
    };
    const space = {
      reserve: (_image: string, load: RuntimeLoad) => {
        if (load.sizeBytes + reserved.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) > 1000)
          return Promise.reject(new PreheatFailure('insufficient_disk', 'no room'));
        reserved.push(load);
        return Promise.resolve({ release: () => (reserved = reserved.filter((other) => other !== load)) });
      },
    } as unknown as StoreSpace;
    const inventory = { snapshot: () => Promise.resolve(snapshot) } as unknown as RuntimeInventory;
    exporter = new RuntimeExporter(runtime, inventory, space, clock);
  });

  const names = (): string[] => exported.map(({ name }) => name);

  it('exports one image at a time, the next one when the stream has closed', async () => {
    await exporter.open(A, SIGNAL);
    const second = exporter.open(B, SIGNAL);
    await setImmediate();
    expect(names()).toEqual([A.image]);
    exported[0]?.stream.destroy();
    await second;
    expect(names()).toEqual([A.image, B.image]);
  });

  it('keeps room for what the runtime stages until the stream has closed', async () => {
    const stream = await exporter.open(A, SIGNAL);
    expect(reserved).toEqual([{ directory: '/var/lib/docker', sizeBytes: 700 }]);
    stream.destroy();
    await setImmediate();
    expect(reserved).toEqual([]);
  });

  it('stages nothing where there is no room, and lets the next one try', async () => {
    reserved.push({ directory: '/var/lib/docker', sizeBytes: 400 });
    await expect(exporter.open(A, SIGNAL)).rejects.toMatchObject({ reason: 'insufficient_disk' });
    expect(names()).toEqual([]);
    await exporter.open(B, SIGNAL);
    expect(names()).toEqual([B.image]);
  });

  it('gives turn and room back when the runtime refuses', async () => {
    refuse = new PreheatFailure('runtime_error', 'no');
    await expect(exporter.open(A, SIGNAL)).rejects.toBe(refuse);
    refuse = undefined;
    expect(reserved).toEqual([]);
    await exporter.open(B, SIGNAL);
  });

  it('refuses whoever has waited for a minute, and passes its turn on', async () => {
    await exporter.open(A, SIGNAL);
    const second = exporter.open(B, SIGNAL);
    const refused = expect(second).rejects.toMatchObject({
      response: { statusCode: 429, code: 'EXPORT_UNDER_WAY' },
    });
    await clock.advance(59_000);
    const third = exporter.open(B, SIGNAL);
    await clock.advance(1000);
    await refused;
    exported[0]?.stream.destroy();
    await third;
    expect(names()).toEqual([A.image, B.image]);
  });

  it('forgets whoever has gone while it waited', async () => {
    const controller = new AbortController();
    const reason = new Error('the client closed the connection');
    await exporter.open(A, SIGNAL);
    const second = exporter.open(B, controller.signal);
    controller.abort(reason);
    await expect(second).rejects.toBe(reason);
    exported[0]?.stream.destroy();
    await exporter.open(A, SIGNAL);
    expect(names()).toEqual([A.image, A.image]);
  });
});
