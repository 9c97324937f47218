import type { FileHandle } from 'node:fs/promises';

import { invalidTar } from './tar-header.js';

/** Bytes that are read forwards, once. */
export interface TarInput {
  /** How many bytes have been read or skipped. */
  readonly offset: number;
  /** At most `maxBytes` of the next bytes, at least one; undefined at the end. */
  take(maxBytes: number): Promise<Buffer | undefined>;
  /** @throws InvalidInputError `INVALID_TAR` when the input ends before */
  skip(bytes: number): Promise<void>;
}

/** The next `bytes` bytes together; fewer when the input ends before. */
export async function readBytes(input: TarInput, bytes: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let missing = bytes;
  while (missing > 0) {
    const part = await input.take(missing);
    if (part === undefined) break;
    parts.push(part);
    missing -= part.length;
  }
  return parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts);
}

/** A file: what is skipped is never read. */
export class FileTarInput implements TarInput {
  offset = 0;

  constructor(
    private readonly file: FileHandle,
    private readonly sizeBytes: number,
    private readonly signal: AbortSignal,
  ) {}

  async take(maxBytes: number): Promise<Buffer | undefined> {
    this.signal.throwIfAborted();
    const length = Math.min(maxBytes, this.sizeBytes - this.offset);
    if (length <= 0) return undefined;
    const { bytesRead, buffer } = await this.file.read(Buffer.allocUnsafe(length), 0, length, this.offset);
    this.offset += bytesRead;
    return bytesRead === 0 ? undefined : buffer.subarray(0, bytesRead);
  }

  skip(bytes: number): Promise<void> {
    if (bytes > this.sizeBytes - this.offset) return Promise.reject(invalidTar('it is cut short'));
    this.offset += bytes;
    return Promise.resolve();
  }
}

/** A stream, pulled piece by piece: nothing is read ahead of what is asked for. Whoever owns the stream closes it. */
export class StreamTarInput implements TarInput {
  offset = 0;
  private readonly iterator: AsyncIterator<Uint8Array>;
  private rest: Buffer = Buffer.alloc(0);

  /** @param maxBytes the input may be no longer than this */
  constructor(
    source: AsyncIterable<Uint8Array>,
    private readonly maxBytes: number,
    private readonly signal: AbortSignal,
  ) {
    this.iterator = source[Symbol.asyncIterator]();
  }

  async take(maxBytes: number): Promise<Buffer | undefined> {
    while (this.rest.length === 0) {
      this.signal.throwIfAborted();
      const next = await this.iterator.next();
      if (next.done === true) return undefined;
      this.rest = Buffer.from(next.value.buffer, next.value.byteOffset, next.value.byteLength);
      if (this.offset + this.rest.length > this.maxBytes)
        throw invalidTar(`it is longer than ${this.maxBytes} bytes`);
    }
    const part = this.rest.subarray(0, maxBytes);
    this.rest = this.rest.subarray(part.length);
    this.offset += part.length;
    return part;
  }

  async skip(bytes: number): Promise<void> {
    for (let missing = bytes; missing > 0;) {
      const part = await this.take(missing);
      if (part === undefined) throw invalidTar('it is cut short');
      missing -= part.length;
    }
  }
}
