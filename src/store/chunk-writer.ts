import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';

import { CoalescingWriter } from './coalescing-writer.js';

/** Writes one chunk at its place while hashing it, on its own and, where `prefix` is given, as part of the blob. */
export class ChunkWriter {
  private readonly hash = createHash('sha256');
  private readonly file: CoalescingWriter;

  constructor(
    handle: FileHandle,
    buffer: Buffer,
    start: number,
    readonly prefix: Hash | undefined,
  ) {
    this.file = new CoalescingWriter(handle, buffer, start);
  }

  async push(piece: Uint8Array): Promise<void> {
    this.hash.update(piece);
    this.prefix?.update(piece);
    await this.file.push(piece);
  }

  /** The chunk's own SHA-256 in hex, once all of it was pushed. */
  digest(): string {
    return this.hash.digest('hex');
  }

  /** Resolves when all that was pushed is in the file. */
  async flush(): Promise<void> {
    await this.file.flush();
  }
}
