import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { errnoOf } from '../../src/common/errno.js';

const SAMPLE_MS = 250;

/** Measures again and again what a directory takes of its disk, while something is done to whoever writes to it. */
export class DiskPeak {
  private peak = 0;
  private samples = 0;
  private readonly stopped = new AbortController();
  private readonly running: Promise<void>;

  constructor(private readonly directory: string) {
    this.running = this.run();
  }

  /** Ends it. @returns the most that was seen, bytes, and how often it was looked at */
  async stop(): Promise<{ peakBytes: number; samples: number }> {
    this.stopped.abort();
    await this.running;
    return { peakBytes: this.peak, samples: this.samples };
  }

  private async run(): Promise<void> {
    const { signal } = this.stopped;
    while (!signal.aborted) {
      this.peak = Math.max(this.peak, await bytesOnDisk(this.directory));
      this.samples += 1;
      await delay(SAMPLE_MS, undefined, { signal }).catch(() => undefined);
    }
  }
}

/** What the files below `directory` have of their disk: holes cost nothing, and what vanishes meanwhile neither. */
async function bytesOnDisk(directory: string): Promise<number> {
  try {
    const entries = await readdir(directory, { recursive: true, withFileTypes: true });
    const sizes = entries
      .filter((entry) => entry.isFile())
      .map(async ({ parentPath, name }) => blocksOf(join(parentPath, name)));
    return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 0;
    throw error;
  }
}

async function blocksOf(path: string): Promise<number> {
  try {
    return (await lstat(path)).blocks * 512;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 0;
    throw error;
  }
}
