import type { FileHandle } from 'node:fs/promises';

/**
 * Gathers small pieces into one buffer and writes it when it is full: sockets deliver 16–64 KiB, and a system call
 * each would double the cost of a byte. A piece is copied, so it is the caller's again when `push` resolves.
 */
export class CoalescingWriter {
  private filled = 0;

  constructor(
    private readonly handle: FileHandle,
    private readonly buffer: Buffer,
    private position: number,
  ) {}

  async push(piece: Uint8Array): Promise<void> {
    for (let from = 0; from < piece.length;) {
      const part = piece.subarray(from, from + this.buffer.length - this.filled);
      this.buffer.set(part, this.filled);
      this.filled += part.length;
      from += part.length;
      if (this.filled === this.buffer.length) await this.flush();
    }
  }

  async flush(): Promise<void> {
    // write(2) may write less than asked, on a disk that is nearly full for one.
    for (let from = 0; from < this.filled;) {
      const { bytesWritten } = await this.handle.write(this.buffer, from, this.filled - from, this.position);
      from += bytesWritten;
      this.position += bytesWritten;
    }
    this.filled = 0;
  }
}
