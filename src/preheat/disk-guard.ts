import { Inject, Injectable } from '@nestjs/common';

import { anySignal, isAbort } from '../common/abort.js';
import { Clock } from '../common/clock.js';
import { formatBytes } from '../common/units.js';
import { AppConfig } from '../config/app-config.js';
import { ImageRuntime } from '../runtime/image-runtime.js';
import { type DiskSpace, diskSpaceOf, minFreeBytes } from '../store/disk-space.js';
import { InsufficientDisk } from '../store/insufficient-disk.js';

const LOOK_MS = 50;
/** Of `MIN_FREE_DISK`: 18 % of the disk by default; kubelet's garbage collection begins below 16 %. */
const FLOOR = 0.9;

/** What an image unpacks to is known only when it is: a pull that takes more than was expected is ended in time. */
@Injectable()
export class DiskGuard {
  constructor(
    @Inject(AppConfig) private readonly config: AppConfig,
    @Inject(ImageRuntime) private readonly runtime: Pick<ImageRuntime, 'pull'>,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  /** The runtime, with its disk watched while it pulls. @param directory where it unpacks; undefined watches nothing */
  over(directory: string | undefined): Pick<ImageRuntime, 'pull'> {
    if (directory === undefined) return this.runtime;
    return { pull: (name, signal, onProgress) => this.pull(directory, name, signal, onProgress) };
  }

  protected measure(directory: string): Promise<DiskSpace> {
    return diskSpaceOf(directory);
  }

  /** @throws InsufficientDisk beside what the runtime throws */
  private async pull(
    directory: string,
    name: string,
    signal: AbortSignal,
    onProgress?: () => void,
  ): Promise<void> {
    const ended = new AbortController();
    const full = new AbortController();
    const watch = this.watch(directory, full, anySignal(signal, ended.signal));
    const guarded = anySignal(signal, full.signal);
    try {
      await this.runtime.pull(name, guarded, onProgress);
    } catch (error) {
      throw full.signal.aborted && isAbort(error, guarded) ? full.signal.reason : error;
    } finally {
      ended.abort();
      await watch;
    }
  }

  /** Ends with `signal`, or when it has aborted `full`; a disk that cannot be measured is not watched. */
  private async watch(directory: string, full: AbortController, signal: AbortSignal): Promise<void> {
    try {
      for (let mostFreeBytes = 0; ;) {
        const disk = await this.measure(directory);
        mostFreeBytes = Math.max(mostFreeBytes, disk.freeBytes);
        const minBytes = minFreeBytes(this.config.store.minFree, disk);
        // Where others have filled the disk before, a pull that takes nothing does no harm.
        if (disk.freeBytes >= minBytes * FLOOR || disk.freeBytes >= mostFreeBytes) {
          await this.clock.sleep(LOOK_MS, signal);
          continue;
        }
        const taken = formatBytes(mostFreeBytes - disk.freeBytes);
        const message = `the runtime has taken ${taken} for the image, more than was expected, and leaves ${formatBytes(disk.freeBytes)} free on the disk of ${directory}, where MIN_FREE_DISK is ${formatBytes(minBytes)}`;
        full.abort(new InsufficientDisk(message, directory, mostFreeBytes + minBytes * (1 - FLOOR)));
        return;
      }
    } catch {
      // Aborted, or not there to be measured, which the log has said already.
    }
  }
}
