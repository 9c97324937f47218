/**
 * Buffers of one size that are used again and again: a fresh one per read or write costs a page fault per 4 KiB
 * and leaves its memory to the garbage collector. A buffer belongs to whoever took it until it is given back.
 */
export class BufferPool {
  private readonly free: Buffer[] = [];

  /** @param maxFree buffers kept for later; more than that are left to the collector */
  constructor(
    readonly bufferBytes: number,
    private readonly maxFree: number,
  ) {}

  take(): Buffer {
    return this.free.pop() ?? Buffer.allocUnsafeSlow(this.bufferBytes);
  }

  /** Only when nothing reads from or writes to `buffer` any more. */
  give(buffer: Buffer): void {
    if (this.free.length < this.maxFree) this.free.push(buffer);
  }
}
