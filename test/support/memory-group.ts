import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

const ROOT = '/sys/fs/cgroup';

interface Names {
  readonly limit: string;
  readonly peak: string;
  /** Has a line `oom_kill <count>`. */
  readonly events: string;
}

const VERSION_1: Names = {
  limit: 'memory.limit_in_bytes',
  peak: 'memory.max_usage_in_bytes',
  events: 'memory.oom_control',
};
const VERSION_2: Names = { limit: 'memory.max', peak: 'memory.peak', events: 'memory.events' };

/** What the kernel counts of the memory of a control group, page cache included; both versions of control groups. */
export class MemoryGroup {
  private constructor(
    private readonly directory: string,
    private readonly names: Names,
  ) {}

  /** The one that the process is in. */
  static async of(pid: number): Promise<MemoryGroup> {
    const groups = await readFile(`/proc/${pid}/cgroup`, 'utf8');
    const first = /^\d+:(?:[\w=]+,)*memory(?:,[\w=]+)*:(.+)$/m.exec(groups)?.[1];
    if (first !== undefined) return new MemoryGroup(join(ROOT, 'memory', first), VERSION_1);
    return new MemoryGroup(join(ROOT, /^0::(.+)$/m.exec(groups)?.[1] ?? ''), VERSION_2);
  }

  async limitBytes(): Promise<number> {
    return Number(await this.read(this.names.limit));
  }

  async peakBytes(): Promise<number> {
    return Number(await this.read(this.names.peak));
  }

  /** Processes of it that were killed for want of memory. */
  async kills(): Promise<number> {
    return Number(/^oom_kill (\d+)$/m.exec(await this.read(this.names.events))?.[1]);
  }

  private async read(name: string): Promise<string> {
    return (await readFile(join(this.directory, name), 'utf8')).trim();
  }
}
