import { statfs } from 'node:fs/promises';

import type { FreeDisk } from '../config/app-config.js';

const DEFAULT_MAX_BYTES = 20 * 1024 ** 3;
const DEFAULT_MAX_FRACTION = 0.1;

/** Of a file system, in bytes; `freeBytes` is what an ordinary user may still write. */
export interface DiskSpace {
  readonly totalBytes: number;
  readonly freeBytes: number;
}

/** The space of the file system that `directory` is on. */
export async function diskSpaceOf(directory: string): Promise<DiskSpace> {
  const { blocks, bavail, bsize } = await statfs(directory);
  return { totalBytes: blocks * bsize, freeBytes: bavail * bsize };
}

/** `MIN_FREE_DISK` in bytes on this disk. */
export function minFreeBytes(minFree: FreeDisk, { totalBytes }: DiskSpace): number {
  return 'bytes' in minFree ? minFree.bytes : Math.ceil(minFree.fraction * totalBytes);
}

/**
 * Below this much free space, in bytes, the store gives up what it can: 25 % of the disk where `MIN_FREE_DISK` is 20 %.
 * What it holds can be fetched again; what kubelet's garbage collection takes at 15 % are images that Pods wait for.
 */
export function shrinkBelowBytes(minFree: FreeDisk, disk: DiskSpace): number {
  return minFreeBytes(minFree, disk) * 1.25;
}

/** `STORE_MAX_SIZE` in bytes: as set, 0 for no limit; else the smaller of 20 GiB and a tenth of the file system. */
export function maxStoreBytes(configured: number | undefined, { totalBytes }: DiskSpace): number {
  if (configured === undefined)
    return Math.min(DEFAULT_MAX_BYTES, Math.floor(totalBytes * DEFAULT_MAX_FRACTION));
  return configured === 0 ? Infinity : configured;
}
