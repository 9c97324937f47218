import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

const SAMPLE_MS = 1_000;

/** How busy all processors of this machine are, whoever keeps them so, out of `/proc/stat`. */
export class ProcessorTime {
  private constructor(
    private readonly busyTicks: number,
    private readonly allTicks: number,
  ) {}

  static async now(): Promise<ProcessorTime> {
    const text = await readFile('/proc/stat', 'utf8');
    // user, nice, system, idle, iowait, irq, softirq, steal; what guests use is in user already. See proc(5).
    const ticks = (/^cpu +(.+)$/m.exec(text)?.[1] ?? '').split(' ').slice(0, 8).map(Number);
    const all = ticks.reduce((sum, count) => sum + count, 0);
    const [, , , idle = 0, waiting = 0] = ticks;
    return new ProcessorTime(all - idle - waiting, all);
  }

  /** @returns 0 … 1 */
  async busySince(): Promise<number> {
    const now = await ProcessorTime.now();
    return (now.busyTicks - this.busyTicks) / Math.max(1, now.allTicks - this.allTicks);
  }

  /** For a second in which this process does nothing. @returns 0 … 1 */
  static async busyWithOthers(): Promise<number> {
    const before = await ProcessorTime.now();
    await delay(SAMPLE_MS);
    return before.busySince();
  }
}
