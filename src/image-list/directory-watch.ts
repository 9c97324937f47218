import { type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';

/**
 * Watches a directory that may not be there yet, or may be replaced. The kernel's watch belongs to the inode, not the
 * path, and may fail or be lost: whoever owns this calls `renew` now and then, and does not rely on events alone.
 */
export class DirectoryWatch {
  private watcher: FSWatcher | undefined;
  private watched: string | undefined;

  constructor(
    private readonly directory: string,
    /** @param name of the entry that changed, where the system says so */
    private readonly onEvent: (name: string | null) => void,
  ) {}

  /** Makes sure that what is at the path now is what is watched. Never throws: without a watch, polling remains. */
  async renew(): Promise<void> {
    const current = await identityOf(this.directory);
    if (this.watcher && current === this.watched) return;
    this.close();
    if (current === undefined) return;
    try {
      // Not persistent: watching a file is no reason for a process to live.
      this.watcher = watch(this.directory, { persistent: false });
    } catch {
      return;
    }
    this.watched = current;
    this.watcher.on('change', (_event, name: string | Buffer | null) => {
      const entry = name === null ? null : name.toString();
      // The end of the directory itself comes under its own name, and is the last event there will be.
      if (entry === basename(this.directory)) this.close();
      this.onEvent(entry);
    });
    this.watcher.on('error', () => this.close());
  }

  close(): void {
    this.watcher?.close();
    this.watcher = undefined;
    this.watched = undefined;
  }
}

/** A new directory may get the inode number of the one that was there before, but not its time of birth. */
async function identityOf(directory: string): Promise<string | undefined> {
  try {
    const { dev, ino, birthtimeNs } = await stat(directory, { bigint: true });
    return [dev, ino, birthtimeNs].join(':');
  } catch {
    return undefined;
  }
}
