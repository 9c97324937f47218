import type { FileHandle } from 'node:fs/promises';

import { abandonable } from '../common/abandonable.js';
import { anySignal } from '../common/abort.js';
import { chunkRange, chunkSizeOf } from '../domain/chunk-map.js';
import type { Digest } from '../domain/digest.js';
import { PreheatFailure } from '../domain/errors.js';
import { abortable } from './abortable.js';
import type { BufferPool } from './buffer-pool.js';
import { ChunkClaims, ChunkOutrunError, type ChunkPlace } from './chunk-claims.js';
import type { ChunkHashes } from './chunk-hashes.js';
import { ChunkWriter } from './chunk-writer.js';
import type { VerifiedChunks } from './verified-chunks.js';

export interface ChunkIntakeParts {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly handle: FileHandle;
  /** Lends one buffer to each writer: what it gathers before it writes. */
  readonly buffers: BufferPool;
  readonly chunks: VerifiedChunks;
  /** A chunk was completed. */
  readonly noteChunk: () => void;
  /** @throws when nothing can be written any more */
  readonly assertUsable: () => void;
  /** Waits for work on the disk, and turns its failure into that of the whole blob. */
  readonly onDisk: <T>(work: Promise<T>) => Promise<T>;
}

/** What a writer may want to know, or to hold up. */
export interface IntakeEvents {
  /** Awaited with the length of every piece before it is taken: the place for a rate limit, or a last check. */
  readonly onPiece?: (bytes: number) => Promise<void> | void;
  /** Told of every chunk that was completed. */
  readonly onChunk?: (index: number) => void;
}

/** A chunk that a `write` is in the middle of; without a writer when its bytes are there already. */
interface OpenChunk {
  readonly index: number;
  readonly end: number;
  readonly writer?: ChunkWriter;
  readonly place: ChunkPlace;
}

/**
 * Takes bytes into a partial blob, by several writers at once. A chunk counts when all of it is in the file, hashed; what
 * was hashed and what the file holds are the same.
 */
export class ChunkIntake {
  private readonly claims = new ChunkClaims();

  constructor(private readonly parts: ChunkIntakeParts) {}

  /**
   * Takes in what `source` sends for the bytes from `start`, where a chunk begins or the blob ends, to where it ends.
   * Chunks that are there already are passed over; one that another `write` is in the middle of is waited for. A piece
   * is the source's own again when the next one is asked for; a source not read to its end is closed. A chunk that was
   * not completed leaves nothing behind, nor does one that a `writeChunk` was faster with, or wrote over.
   * @throws PreheatFailure `corrupt` when there are more bytes than the blob has; `insufficient_disk`, with everything
   *   that was written freed; whatever the source throws; the signal's reason
   */
  async write(
    start: number,
    source: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    { onPiece, onChunk }: IntakeEvents = {},
  ): Promise<void> {
    const beginsChunk = start >= 0 && start < this.parts.size && start % chunkSizeOf(this.parts.size) === 0;
    if (!beginsChunk && start !== this.parts.size) {
      throw new RangeError(
        `no chunk of ${this.parts.digest} (${this.parts.size} bytes) begins at byte ${start}`,
      );
    }
    const buffer = this.parts.buffers.take();
    let position = start;
    let chunk: OpenChunk | undefined;
    try {
      for await (const piece of abortable(source, signal)) {
        await onPiece?.(piece.length);
        for (let rest = piece; rest.length > 0;) {
          chunk ??= await this.openChunk(position, buffer, signal);
          const part = rest.subarray(0, chunk.end - position);
          const completed = await this.fill(chunk, part, position + part.length);
          position += part.length;
          rest = rest.subarray(part.length);
          if (position < chunk.end) continue;
          chunk.place.leave();
          if (completed) onChunk?.(chunk.index);
          chunk = undefined;
        }
      }
    } finally {
      chunk?.place.leave();
      this.parts.buffers.give(buffer);
    }
  }

  /**
   * Takes in chunk `index`, all of it and nothing else. Several may race for one chunk; of one that is there already
   * nothing is read. A piece is the source's own again when the next one is asked for.
   * @param expected what its SHA-256 is said to be, in hex; undefined when nobody said
   * @throws ChunkOutrunError when another was faster, by however much, or wrote something else over it; PreheatFailure
   *   `corrupt` when more or fewer bytes or others than expected came: nothing of them is kept; `insufficient_disk` as
   *   `write` does; whatever the source throws; the signal's reason
   */
  async writeChunk(
    index: number,
    source: AsyncIterable<Uint8Array>,
    expected: string | undefined,
    signal: AbortSignal,
    { onPiece }: Pick<IntakeEvents, 'onPiece'> = {},
  ): Promise<void> {
    if (this.parts.chunks.map.has(index)) throw new ChunkOutrunError();
    const { start, length } = chunkRange(this.parts.size, index);
    const place = this.claims.join(index);
    const buffer = this.parts.buffers.take();
    const writer = new ChunkWriter(this.parts.handle, buffer, start, this.parts.chunks.forkPrefix(start));
    let bytes = 0;
    try {
      for await (const piece of abortable(source, anySignal(signal, place.outrun))) {
        await onPiece?.(piece.length);
        bytes += piece.length;
        if (bytes > length) break;
        this.parts.assertUsable();
        await this.parts.onDisk(place.writing(() => writer.push(piece)));
      }
      const hash = writer.digest();
      if (bytes !== length || (expected !== undefined && hash !== expected)) {
        throw new PreheatFailure(
          'corrupt',
          `what came as chunk ${index} of ${this.parts.digest} is something else`,
        );
      }
      this.parts.assertUsable();
      await this.parts.onDisk(place.writing(() => writer.flush()));
      if (!(await this.complete(index, hash, writer, place))) throw new ChunkOutrunError();
    } finally {
      place.leave();
      this.parts.buffers.give(buffer);
    }
  }

  /** Sets about the chunk that begins at `start`, once nobody else is at it. */
  private async openChunk(start: number, buffer: Buffer, signal: AbortSignal): Promise<OpenChunk> {
    if (start === this.parts.size) {
      throw new PreheatFailure(
        'corrupt',
        `more than the ${this.parts.size} bytes of ${this.parts.digest} came`,
      );
    }
    const index = start / chunkSizeOf(this.parts.size);
    const end = start + chunkRange(this.parts.size, index).length;
    const place = await this.claims.claim(index, signal);
    if (this.parts.chunks.map.has(index)) return { index, end, place };
    try {
      // At the frontier bytes are hashed as they come. Without this wait, a hash that lags would lag to the end.
      if (start === this.parts.chunks.prefixBytes)
        await abandonable(this.parts.onDisk(this.parts.chunks.catchUp()), signal);
      const writer = new ChunkWriter(this.parts.handle, buffer, start, this.parts.chunks.forkPrefix(start));
      return { index, end, place, writer };
    } catch (error) {
      place.leave();
      throw error;
    }
  }

  /** @returns whether it completed the chunk */
  private async fill(
    { index, end, writer, place }: OpenChunk,
    part: Uint8Array,
    position: number,
  ): Promise<boolean> {
    this.parts.assertUsable();
    const isOutrun = (): boolean => place.outrun.aborted;
    if (!writer || isOutrun()) return false;
    await this.parts.onDisk(place.writing(() => writer.push(part)));
    if (position < end || isOutrun()) return false;
    await this.parts.onDisk(place.writing(() => writer.flush()));
    return !isOutrun() && this.complete(index, writer.digest(), writer, place);
  }

  /** All of the chunk was written. @returns whether it is there; false when others wrote over it */
  private async complete(
    index: number,
    hash: string,
    { prefix }: ChunkWriter,
    place: ChunkPlace,
  ): Promise<boolean> {
    const mayBeOthers = await place.takeAlone();
    this.parts.assertUsable();
    const { chunks } = this.parts;
    if (mayBeOthers) await this.parts.onDisk(chunks.restore(hashesWith(index, hash), undefined));
    else chunks.add(index, hash, prefix);
    if (!chunks.map.has(index)) return false;
    this.parts.noteChunk();
    return true;
  }
}

/** A record that names chunk `index` alone. */
function hashesWith(index: number, hash: string): ChunkHashes {
  const hashes: ChunkHashes = [];
  hashes[index] = hash;
  return hashes;
}
