import { execFile } from 'node:child_process';
import { mkdtemp, open, rm, rmdir, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const LOOK_MS = 20;

/** A small ext4 file system of its own, in a file. Root on Linux only; throws where there is no loop device. */
export class LoopDisk {
  private constructor(
    private readonly file: string,
    /** Where it is mounted. */
    readonly directory: string,
  ) {}

  static async create(sizeBytes: number): Promise<LoopDisk> {
    const directory = await mkdtemp(join(tmpdir(), 'disk-'));
    const disk = new LoopDisk(`${directory}.img`, directory);
    try {
      const file = await open(disk.file, 'w');
      await file.truncate(sizeBytes);
      await file.close();
      await run('mkfs.ext4', ['-q', '-F', disk.file]);
      await run('mount', ['-o', 'loop', disk.file, directory]);
    } catch (error) {
      await disk.remove();
      throw error;
    }
    return disk;
  }

  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.directory);
    return bavail * bsize;
  }

  async totalBytes(): Promise<number> {
    const { blocks, bsize } = await statfs(this.directory);
    return blocks * bsize;
  }

  /** As kubelet counts before it collects garbage, which it does at 85 by default. */
  async usedPercent(): Promise<number> {
    const { blocks, bavail } = await statfs(this.directory);
    return 100 - Math.floor((bavail * 100) / blocks);
  }

  /** Takes so much space that `freeBytes` are left, about. */
  async fill(freeBytes: number): Promise<void> {
    const bytes = Math.floor((await this.freeBytes()) - freeBytes);
    await run('fallocate', ['--length', String(bytes), this.filler]);
  }

  /** Gives back what `fill` took. */
  async clear(): Promise<void> {
    await rm(this.filler);
  }

  /** Whatever still has a file of it open has been ended by then, or will be: it is for the kernel to wait. */
  async dispose(): Promise<void> {
    await run('umount', ['--lazy', this.directory]);
    await this.remove();
  }

  private get filler(): string {
    return join(this.directory, 'filler');
  }

  private async remove(): Promise<void> {
    await rm(this.file, { force: true });
    await rmdir(this.directory);
  }
}

/** Looks at disks all the time, from now on until `stop`. */
export class DiskWatch {
  private readonly highest = new Map<LoopDisk, number>();
  private readonly timer: NodeJS.Timeout;
  private error: unknown;

  constructor(disks: readonly LoopDisk[]) {
    this.timer = setInterval(() => {
      for (const disk of disks)
        disk.usedPercent().then(
          (percent) => this.highest.set(disk, Math.max(percent, this.highest.get(disk) ?? 0)),
          (error: unknown) => (this.error = error),
        );
    }, LOOK_MS);
  }

  /** The most that was used of a disk so far, in percent. @throws when it could not be looked at */
  mostUsed(disk: LoopDisk): number {
    if (this.error !== undefined) throw new Error('a disk could not be measured', { cause: this.error });
    const percent = this.highest.get(disk);
    if (percent === undefined) throw new Error('the disk was not looked at yet');
    return percent;
  }

  stop(): void {
    clearInterval(this.timer);
  }
}
