import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';

import { chunkCountOf, ChunkMap, chunkRange, chunkSizeOf } from '../domain/chunk-map.js';
import type { BufferPool } from './buffer-pool.js';
import { type ChunkHashes, readRange } from './chunk-hashes.js';
import { PrefixHash } from './prefix-hash.js';

/** What is known of a partial blob's bytes: which chunks are there, their hashes, and the hash of the prefix without a gap. */
export class VerifiedChunks {
  readonly map: ChunkMap;
  readonly hashes: ChunkHashes;
  private readonly prefix = new PrefixHash();
  private contiguous = 0;
  private catchingUp: Promise<void> | undefined;

  constructor(
    private readonly handle: FileHandle,
    private readonly size: number,
    private readonly buffers: BufferPool,
  ) {
    this.map = new ChunkMap(chunkCountOf(size));
    this.hashes = Array.from({ length: this.map.length }, () => undefined);
  }

  get prefixBytes(): number {
    return Math.min(this.contiguous * chunkSizeOf(this.size), this.size);
  }

  /** A hash to feed with the chunk that begins at `start`, if the prefix ends there. */
  forkPrefix(start: number): Hash | undefined {
    return this.prefix.fork(start);
  }

  /** Chunk `index` is in the file; `fork`, where there is one, was fed with it. One that is known already stays as it is. */
  add(index: number, hash: string, fork: Hash | undefined): void {
    if (this.map.has(index)) return;
    if (fork) this.prefix.advance(fork, chunkRange(this.size, index).length);
    this.hashes[index] = hash;
    this.map.add(index);
    while (this.map.has(this.contiguous)) this.contiguous += 1;
  }

  /** Reads again the chunks that `recorded` names and keeps those whose hash is right. */
  async restore(recorded: ChunkHashes, signal: AbortSignal | undefined): Promise<void> {
    const buffer = this.buffers.take();
    try {
      for (const [index, expected] of recorded.entries()) {
        if (expected === undefined) continue;
        signal?.throwIfAborted();
        const { start, length } = chunkRange(this.size, index);
        const hash = createHash('sha256');
        const fork = this.prefix.fork(start);
        await readRange(this.handle, start, start + length, buffer, (piece) => {
          hash.update(piece);
          fork?.update(piece);
        });
        if (hash.digest('hex') === expected) this.add(index, expected, fork);
      }
    } finally {
      this.buffers.give(buffer);
    }
  }

  /** Lets the hash reach the end of the prefix, reading back what came out of order. */
  catchUp(): Promise<void> {
    this.catchingUp ??= this.hashPrefix().finally(() => (this.catchingUp = undefined));
    return this.catchingUp;
  }

  /** Catches up by and by; what fails shows when the hash is needed. */
  follow(): void {
    this.catchUp().catch(() => undefined);
  }

  /** Resolves when nothing reads the file any more. */
  async settled(): Promise<void> {
    await this.catchingUp?.catch(() => undefined);
  }

  /** SHA-256 in hex of as much of the prefix as was caught up with. */
  prefixDigest(): string {
    return this.prefix.digest();
  }

  private async hashPrefix(): Promise<void> {
    if (this.prefix.bytes === this.prefixBytes) return;
    const buffer = this.buffers.take();
    try {
      while (this.prefix.bytes < this.prefixBytes) {
        const start = this.prefix.bytes;
        const end = Math.min(start + buffer.length, this.prefixBytes);
        const hash = this.prefix.fork(start);
        if (!hash) return;
        await readRange(this.handle, start, end, buffer, (piece) => hash.update(piece));
        this.prefix.advance(hash, end - start);
      }
    } finally {
      this.buffers.give(buffer);
    }
  }
}
