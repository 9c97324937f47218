import { tmpdir } from 'node:os';

import { diskSpaceOf, maxStoreBytes, minFreeBytes, shrinkBelowBytes } from './disk-space.js';

const GIB = 1024 ** 3;
const disk = (totalBytes: number) => ({ totalBytes, freeBytes: totalBytes });

describe('disk space', () => {
  it('is that of the file system that the directory is on', async () => {
    const { totalBytes, freeBytes } = await diskSpaceOf(tmpdir());
    expect(totalBytes).toBeGreaterThan(0);
    expect(freeBytes).toBeLessThanOrEqual(totalBytes);
  });

  it('gives the store the smaller of 20 GiB and a tenth, unless told otherwise; 0 is no limit', () => {
    expect(maxStoreBytes(undefined, disk(100 * GIB))).toBe(10 * GIB);
    expect(maxStoreBytes(undefined, disk(1000 * GIB))).toBe(20 * GIB);
    expect(maxStoreBytes(5, disk(GIB))).toBe(5);
    expect(maxStoreBytes(0, disk(GIB))).toBe(Infinity);
  });

  it('takes MIN_FREE_DISK as bytes or as a part of the disk', () => {
    expect(minFreeBytes({ bytes: 7 }, disk(GIB))).toBe(7);
    expect(minFreeBytes({ fraction: 0.2 }, disk(10 * GIB))).toBe(2 * GIB);
  });

  it('lets the store shrink below a quarter more than MIN_FREE_DISK', () => {
    expect(shrinkBelowBytes({ fraction: 0.2 }, disk(100 * GIB))).toBe(25 * GIB);
    expect(shrinkBelowBytes({ bytes: 0 }, disk(GIB))).toBe(0);
  });
});
