import { formatBytes } from '../common/units.js';
import { PreheatFailure } from '../domain/errors.js';
import { type DiskSpace, diskSpaceOf } from './disk-space.js';
import type { RuntimeLoad } from './runtime-disk.js';

/** A file system that has no room for an image, beside what `MIN_FREE_DISK` keeps free; it can be asked whether it has. */
export class InsufficientDisk extends PreheatFailure {
  constructor(
    message: string,
    private readonly directory: string,
    /** On its file system, for another try to make sense. */
    private readonly freeBytesNeeded: number,
  ) {
    super('insufficient_disk', message);
  }

  /** Whether there is room by now. */
  async isOver(): Promise<boolean> {
    return (await diskSpaceOf(this.directory)).freeBytes >= this.freeBytesNeeded;
  }
}

/** @param leftBytes what the image could take of it; less than it needs */
export function runtimeDiskFull(
  { directory, sizeBytes }: RuntimeLoad,
  leftBytes: number,
  { freeBytes }: DiskSpace,
): InsufficientDisk {
  return new InsufficientDisk(
    `the image needs about ${formatBytes(sizeBytes)} unpacked, but MIN_FREE_DISK leaves ${formatRoom(leftBytes)} of the ${formatBytes(freeBytes)} free on the disk of ${directory}`,
    directory,
    freeBytes + sizeBytes - leftBytes,
  );
}

/** Room that may be less than none. */
export function formatRoom(bytes: number): string {
  return formatBytes(Math.max(0, Math.floor(bytes)));
}
