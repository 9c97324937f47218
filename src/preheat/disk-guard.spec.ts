import { tmpdir } from 'node:os';

import { VirtualClock } from '../../test/support/virtual-clock.js';
import type { AppConfig } from '../config/app-config.js';
import type { ImageRuntime } from '../runtime/image-runtime.js';
import type { DiskSpace } from '../store/disk-space.js';
import { DiskGuard } from './disk-guard.js';

const NAME = '127.0.0.1:5051/preheat/nonce@sha256:0';
const DIRECTORY = tmpdir();

describe('DiskGuard', () => {
  let clock: VirtualClock;
  /** Percent of the disk that is free at each look; the last stays. */
  let free: readonly number[];
  let looks: number;
  let pulls: string[];
  const { signal } = new AbortController();

  beforeEach(() => {
    clock = new VirtualClock();
    pulls = [];
    looks = 0;
  });

  class MadeUpDisk extends DiskGuard {
    protected override measure(): Promise<DiskSpace> {
      const percent = free[Math.min(looks, free.length - 1)];
      looks += 1;
      if (percent === undefined) return Promise.reject(new Error('ENOENT'));
      return Promise.resolve({ totalBytes: 100_000, freeBytes: percent * 1000 });
    }
  }

  /** A pull of a second, with `MIN_FREE_DISK` at a fifth. */
  function pull(directory: string | undefined, outer = signal): Promise<void> {
    const runtime: Pick<ImageRuntime, 'pull'> = {
      pull: async (name, inner) => {
        pulls.push(name);
        await clock.sleep(1000, inner);
      },
    };
    const config = { store: { minFree: { fraction: 0.2 } } } as unknown as AppConfig;
    return clock.run(new MadeUpDisk(config, runtime, clock).over(directory).pull(NAME, outer));
  }

  it('lets a pull go on that leaves MIN_FREE_DISK, or little less', async () => {
    free = [30, 25, 20, 18];
    await pull(DIRECTORY);
    expect(pulls).toEqual([NAME]);
  });

  it('ends a pull that takes more, with both numbers, until there is more than there was', async () => {
    free = [30, 25, 17, 10];
    const failure = pull(DIRECTORY);
    await expect(failure).rejects.toMatchObject({
      reason: 'insufficient_disk',
      message: `the runtime has taken 12.7 KiB for the image, more than was expected, and leaves 16.6 KiB free on the disk of ${DIRECTORY}, where MIN_FREE_DISK is 19.5 KiB`,
      freeBytesNeeded: 32_000,
    });
    expect(clock.monotonicMs()).toBeLessThan(1000);
  });

  it('goes by the most that was free meanwhile: what another pull left behind is still being removed', async () => {
    free = [10, 40, 17];
    await expect(pull(DIRECTORY)).rejects.toMatchObject({ freeBytesNeeded: 42_000 });
  });

  it('lets a pull go on that takes nothing of a disk that others have filled', async () => {
    free = [5];
    await pull(DIRECTORY);
  });

  it('watches nothing where no directory is known', async () => {
    free = [30, 1];
    await pull(undefined);
    expect(pulls).toEqual([NAME]);
    expect(looks).toBe(0);
  });

  it('does not mind a disk that cannot be measured', async () => {
    free = [];
    await pull(DIRECTORY);
  });

  it('ends with the signal of its caller, and its reason', async () => {
    free = [30];
    const abort = new AbortController();
    void clock.sleep(500).then(() => abort.abort(new Error('not wanted any more')));
    await expect(pull(DIRECTORY, abort.signal)).rejects.toThrow('not wanted any more');
  });
});
