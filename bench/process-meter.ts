import { readdir, readFile, writeFile } from 'node:fs/promises';

const SAMPLE_MS = 100;

/** Memory and processor time of another process, out of `/proc`. */
export class ProcessMeter {
  constructor(private readonly pid: number) {}

  /** Run and waited for by no one else: all of its threads, in seconds. */
  async cpuSeconds(): Promise<number> {
    const tasks = await readdir(`/proc/${this.pid}/task`);
    const times = await Promise.all(
      tasks.map((task) => readFile(`/proc/${this.pid}/task/${task}/schedstat`, 'utf8').catch(() => '0')),
    );
    return times.reduce((sum, text) => sum + Number(text.split(' ')[0]), 0) / 1e9;
  }

  async residentMiB(): Promise<number> {
    return this.statusMiB('VmRSS');
  }

  /** The highest resident memory while `work` ran, by the kernel's own mark and by samples. */
  async peakMiB<T>(work: () => Promise<T>): Promise<{ result: T; peakMiB: number; medianMiB: number }> {
    // Resets VmHWM; see proc(5).
    await writeFile(`/proc/${this.pid}/clear_refs`, '5');
    const samples: number[] = [];
    const timer = setInterval(() => {
      this.residentMiB().then(
        (sample) => samples.push(sample),
        () => undefined,
      );
    }, SAMPLE_MS);
    try {
      const result = await work();
      const peakMiB = Math.max(await this.statusMiB('VmHWM'), ...samples);
      samples.sort((one, other) => one - other);
      return { result, peakMiB, medianMiB: samples[Math.floor(samples.length / 2)] ?? peakMiB };
    } finally {
      clearInterval(timer);
    }
  }

  private async statusMiB(field: 'VmRSS' | 'VmHWM'): Promise<number> {
    const status = await readFile(`/proc/${this.pid}/status`, 'utf8');
    const kibibytes = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
    if (kibibytes === undefined) throw new Error(`no ${field} in the status of process ${this.pid}`);
    return Number(kibibytes) / 1024;
  }
}
