import { rm } from 'node:fs/promises';

import type { Clock } from '../common/clock.js';
import { type ChunkHashes, writeChunkHashes } from './chunk-hashes.js';

/** The record is written after this many new chunks, or at the first one this long after the last time. */
const SAVE_EVERY_CHUNKS = 16;
const SAVE_EVERY_MS = 1000;

/** Keeps `partial/<hex>.json` up to date, seldom enough to cost nothing, while a blob grows. */
export class PartialRecord {
  private unsavedChunks = 0;
  private savedAtMs: number;
  private saving: Promise<void> | undefined;

  constructor(
    private readonly path: string,
    private readonly size: number,
    private readonly hashes: ChunkHashes,
    private readonly clock: Clock,
  ) {
    this.savedAtMs = clock.monotonicMs();
  }

  /** One more entry of `hashes` is set. */
  noteChunk(): void {
    this.unsavedChunks += 1;
    const due =
      this.unsavedChunks >= SAVE_EVERY_CHUNKS || this.clock.monotonicMs() - this.savedAtMs >= SAVE_EVERY_MS;
    if (due) this.saving ??= this.save();
  }

  /** Writes what was not written yet. */
  async flush(): Promise<void> {
    await this.saving;
    if (this.unsavedChunks > 0) await this.save();
  }

  async remove(): Promise<void> {
    await this.saving;
    await rm(this.path, { force: true });
  }

  private async save(): Promise<void> {
    this.unsavedChunks = 0;
    this.savedAtMs = this.clock.monotonicMs();
    try {
      await writeChunkHashes(this.path, this.size, this.hashes);
    } catch {
      // Without it a restart fetches these chunks again; a disk that is full says so on the blob's own writes.
    } finally {
      this.saving = undefined;
    }
  }
}
