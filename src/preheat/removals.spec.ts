import { VirtualClock } from '../../test/support/virtual-clock.js';
import { wantedImage } from '../../test/support/wanted-image.js';
import type { PreheatFailure } from '../domain/errors.js';
import type { Presence } from './ready-images.js';
import { Removals } from './removals.js';
import type { StatusStore } from './status.store.js';
import type { WantedImages } from './wanted-images.js';

const IMAGE = wantedImage('registry.example/app:1');
const MINUTE_MS = 60_000;
const { signal } = new AbortController();
const missing: Presence = { kind: 'missing' };

describe('Removals', () => {
  let clock: VirtualClock;
  let removals: Removals;
  let failures: [message: string, retryInMs: number][];
  let isAskedFor: boolean;
  let present: Presence;

  beforeEach(() => {
    clock = new VirtualClock();
    failures = [];
    isAskedFor = false;
    present = missing;
    const status: Partial<StatusStore> = {
      fail: (_key: unknown, { message }: Pick<PreheatFailure, 'message'>, retryInMs: number) =>
        void failures.push([message, retryInMs]),
    };
    const wanted: Partial<WantedImages> = { isAskedFor: () => isAskedFor };
    removals = new Removals(wanted as WantedImages, status as StatusStore, clock);
  });

  const outlast = (): Promise<Presence> => removals.outlast(IMAGE, () => Promise.resolve(present), signal);

  /** Ready, and after a minute gone again. */
  async function removed(): Promise<Presence> {
    removals.ready(IMAGE);
    await clock.advance(MINUTE_MS);
    return outlast();
  }

  /** How long it takes until the image is to be fetched again. */
  async function pauseOf(outcome: Promise<Presence>): Promise<number> {
    const startMs = clock.monotonicMs();
    let isOver = false;
    void outcome.then(() => (isOver = true));
    for (let step = 0; step < 500; step += 1) {
      await clock.advance(0);
      if (isOver as boolean) break;
      await clock.advance(10_000);
    }
    return clock.monotonicMs() - startMs;
  }

  it('lets an image be fetched at once that was never there, and after its first removals', async () => {
    expect(await outlast()).toEqual(missing);
    expect(await outlast()).toEqual(missing);
    expect(await removed()).toEqual(missing);
    expect(await removed()).toEqual(missing);
    expect(failures).toEqual([]);
  });

  it('waits longer and longer after each further one, and says why', async () => {
    await removed();
    await removed();
    const pauses: number[] = [];
    for (let time = 0; time < 3; time += 1) {
      removals.ready(IMAGE);
      pauses.push(await pauseOf(outlast()));
    }
    for (const [index, pauseMs] of pauses.entries()) {
      expect(pauseMs).toBeGreaterThanOrEqual(0.8 * 2 ** index * MINUTE_MS);
      expect(pauseMs).toBeLessThanOrEqual(2 ** index * MINUTE_MS + 10_000);
    }
    expect(failures.map(([message]) => /\d+(?= times)/.exec(message)?.[0])).toEqual(['3', '4', '5']);
  });

  it('counts a removal once, however often the fetching fails after it', async () => {
    await removed();
    await removed();
    removals.ready(IMAGE);
    await pauseOf(outlast());
    await pauseOf(outlast());
    expect(failures.map(([message]) => /\d+(?= times)/.exec(message)?.[0])).toEqual(['3', '3']);
  });

  it('forgets them when the image has stayed for half an hour', async () => {
    for (let time = 0; time < 2; time += 1) await removed();
    removals.ready(IMAGE);
    await clock.advance(31 * MINUTE_MS);
    expect(await outlast()).toEqual(missing);
    expect(failures).toEqual([]);
  });

  it('waits no longer when the image is asked for, or is back', async () => {
    for (let time = 0; time < 2; time += 1) await removed();
    removals.ready(IMAGE);
    const waiting = outlast();
    isAskedFor = true;
    expect(await pauseOf(waiting)).toBeLessThanOrEqual(10_000);
    isAskedFor = false;
    removals.ready(IMAGE);
    const again = outlast();
    present = { kind: 'ready' };
    await pauseOf(again);
    expect(await again).toEqual({ kind: 'ready' });
  });
});
