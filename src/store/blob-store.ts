import { createHash } from 'node:crypto';
import { chmod, open, readFile, stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';

import { Inject, Injectable } from '@nestjs/common';

import { Clock } from '../common/clock.js';
import { formatBytes } from '../common/units.js';
import { ChunkMap } from '../domain/chunk-map.js';
import { type Digest, digestOf } from '../domain/digest.js';
import { PreheatFailure } from '../domain/errors.js';
import { abortable } from './abortable.js';
import { BlobReader } from './blob-reader.js';
import { BlobSpool } from './blob-spool.js';
import { BufferPool } from './buffer-pool.js';
import type { SizedBlob } from './catalog-image.js';
import { CompleteHashes } from './complete-hashes.js';
import { ImageCatalog } from './image-catalog.js';
import type { PartialBlob } from './partial-blob.js';
import { PartialBlobs } from './partial-blobs.js';
import { isMissing } from './disk-errors.js';
import { StoreInventory } from './store-inventory.js';
import { StoreLayout } from './store-layout.js';
import { StoreLock } from './store-lock.js';

/** Each read is a trip to another thread and back: at 256 KiB the trips cost as much as the reading. */
const READ_BUFFER_BYTES = 1024 * 1024;
/** As many as chunks are sent at a time; bursts above that go back to the collector. */
const KEPT_READ_BUFFERS = 6;

/** A blob as other agents are told of it. */
export interface StoredBlob {
  /** Bytes. */
  readonly size: number;
  readonly complete: boolean;
  /** The chunks that are there, of one that is not complete. */
  readonly chunks?: ChunkMap;
  /** SHA-256 of each chunk in hex; `''` where it is not there. */
  readonly chunkHashes?: readonly string[];
}

/**
 * The content-addressed store in `STORE_DIR`. A blob is either complete (verified, immutable, readable) or partial
 * (`PartialBlob`, one writer). Methods that write throw `PreheatFailure` `insufficient_disk` when the disk is full.
 */
@Injectable()
export class BlobStore {
  private readonly readBuffers = new BufferPool(READ_BUFFER_BYTES, KEPT_READ_BUFFERS);
  private readonly partials: PartialBlobs;
  private readonly completeHashes: CompleteHashes;

  constructor(
    private readonly layout: StoreLayout,
    private readonly lock: StoreLock,
    private readonly inventory: StoreInventory,
    private readonly catalog: ImageCatalog,
    @Inject(Clock) clock: Clock,
  ) {
    this.partials = new PartialBlobs(layout, clock);
    this.completeHashes = new CompleteHashes(layout);
  }

  /**
   * Makes the folders, takes the store for this process, removes what a crash left.
   * @throws StoreLockedError
   */
  async open(): Promise<void> {
    await this.layout.ensure();
    await this.lock.acquire();
    // The kubelet makes hostPath folders 0755; private images are in here.
    await chmod(this.layout.root, 0o700);
    await this.inventory.sweep();
    const { complete } = await this.inventory.list();
    await this.catalog.load(new Set(complete.keys()));
  }

  /** Keeps partial blobs for the next start and gives the store back. */
  async close(): Promise<void> {
    await this.partials.close();
    await this.lock.release();
  }

  /** Bytes of a complete blob; undefined when it is not complete. */
  async sizeOf(digest: Digest): Promise<number | undefined> {
    try {
      return (await stat(this.layout.blob(digest))).size;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** A complete blob, to be closed by the caller; undefined when it is not complete. */
  async openBlob(digest: Digest): Promise<BlobReader | undefined> {
    try {
      const handle = await open(this.layout.blob(digest), 'r');
      return new BlobReader((await handle.stat()).size, handle, this.readBuffers);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /**
   * A whole small blob: a manifest, a config. Undefined when it is not complete.
   * @throws PreheatFailure `corrupt` when it has more than `maxBytes`
   */
  async readBytes(digest: Digest, maxBytes: number): Promise<Buffer | undefined> {
    const size = await this.sizeOf(digest);
    if (size === undefined) return undefined;
    if (size > maxBytes) {
      throw new PreheatFailure('corrupt', `${digest} has ${size} bytes; at most ${maxBytes} are accepted`);
    }
    try {
      return await readFile(this.layout.blob(digest));
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** Stores a whole small blob. @throws PreheatFailure `corrupt` when `bytes` are not what `digest` says */
  async putBytes(digest: Digest, bytes: Uint8Array): Promise<void> {
    if (digestOf(bytes) !== digest) {
      throw new PreheatFailure(
        'corrupt',
        `what came as ${digest} (${bytes.length} bytes) has another digest`,
      );
    }
    if ((await this.sizeOf(digest)) !== undefined) return;
    await this.spooled(async (spool) => {
      await spool.write(bytes);
      await spool.publish();
    });
  }

  /**
   * Goes on with a blob where an earlier attempt stopped, or begins it. Ask `sizeOf` before: a blob that is complete is
   * begun anew. The caller must `commit`, `park`, `close` or `discard` what it gets.
   * @param size bytes the blob is known to have
   * @throws BlobBusyError when it has a writer
   */
  async openPartial(digest: Digest, size: number, signal?: AbortSignal): Promise<PartialBlob> {
    this.completeHashes.forget(digest);
    return this.partials.open(digest, size, signal);
  }

  /**
   * Stores a blob whose digest only its end tells, if `accept` wants it then.
   * @returns what it was; undefined when it was not accepted, and nothing of it is kept
   * @throws PreheatFailure `corrupt` when it has more than `maxBytes`; what the stream throws; the signal's reason
   */
  async ingest(
    stream: AsyncIterable<Uint8Array>,
    accept: (digest: Digest) => boolean,
    maxBytes: number,
    signal: AbortSignal,
  ): Promise<SizedBlob | undefined> {
    return this.spooled(async (spool) => {
      for await (const piece of abortable(stream, signal)) {
        if (spool.size + piece.length > maxBytes) {
          throw new PreheatFailure(
            'corrupt',
            `a blob has more than the ${formatBytes(maxBytes)} that are accepted`,
          );
        }
        await spool.write(piece);
      }
      const { digest, size } = spool;
      if (!accept(digest)) return undefined;
      await spool.publish();
      return { digest, size };
    });
  }

  /** Whether something of the blob is left from an earlier attempt, or an earlier process. */
  hasPartial(digest: Digest): Promise<boolean> {
    return this.partials.exists(digest);
  }

  /** Bytes of verified chunks of a blob that is not complete, as far as it was opened in this process. */
  verifiedBytes(digest: Digest): number {
    return this.partials.get(digest)?.verifiedBytes ?? 0;
  }

  /**
   * Bytes `[start, end)` of a blob: of a complete one any, of another those of verified chunks. To be closed by the
   * caller; undefined when they are not there.
   */
  async openRange(digest: Digest, start: number, end: number): Promise<BlobReader | undefined> {
    const complete = await this.openBlob(digest);
    if (complete) return complete;
    const partial = this.partials.get(digest);
    if (!partial?.covers(start, end)) return undefined;
    const reader = await this.openPartialFile(partial);
    // The file stays readable under its handle when it is committed, or dropped. That it is this blob's, and no later
    // attempt's, is certain as long as the blob is known: one that ended meanwhile was committed, or is gone.
    if (reader && this.partials.get(digest) === partial) return reader;
    await reader?.close();
    return this.openBlob(digest);
  }

  /** Lets go of what is left of a blob that nobody writes, before its files are removed. */
  async release(digest: Digest): Promise<void> {
    this.completeHashes.forget(digest);
    await this.partials.discardParked(digest);
  }

  /** Of `digests`, those of which there is anything. A partial blob counts once it was opened in this process. */
  async describe(digests: Iterable<Digest>): Promise<ReadonlyMap<Digest, StoredBlob>> {
    const described = new Map<Digest, StoredBlob>();
    for (const digest of digests) {
      const blob = (await this.describeComplete(digest)) ?? this.describePartial(digest);
      if (blob) described.set(digest, blob);
    }
    return described;
  }

  /** True while somebody writes it. */
  isBeingWritten(digest: Digest): boolean {
    return this.partials.isBeingWritten(digest);
  }

  /** Reads every complete blob again. @returns those whose bytes are not what their name says */
  async verifyAll(signal: AbortSignal): Promise<Digest[]> {
    const { complete } = await this.inventory.list();
    const damaged: Digest[] = [];
    for (const digest of complete.keys()) {
      const reader = await this.openBlob(digest);
      if (!reader) continue;
      const hash = createHash('sha256');
      try {
        await pipeline(reader.stream(0, reader.size, signal), hash, { signal });
      } finally {
        await reader.close();
      }
      if (`sha256:${hash.digest('hex')}` !== digest) damaged.push(digest);
    }
    return damaged;
  }

  private async describeComplete(digest: Digest): Promise<StoredBlob | undefined> {
    const size = await this.sizeOf(digest);
    if (size === undefined) return undefined;
    const chunkHashes = await this.completeHashes.of(digest, size);
    return { size, complete: true, ...(chunkHashes ? { chunkHashes } : {}) };
  }

  private async openPartialFile({ digest, size }: PartialBlob): Promise<BlobReader | undefined> {
    try {
      return new BlobReader(size, await open(this.layout.partial(digest), 'r'), this.readBuffers);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  private describePartial(digest: Digest): StoredBlob | undefined {
    const partial = this.partials.get(digest);
    if (!partial) return undefined;
    const { size, verified } = partial;
    return {
      size,
      complete: false,
      chunks: new ChunkMap(verified.length, verified.toBytes()),
      chunkHashes: partial.chunkHashes.map((hash) => hash ?? ''),
    };
  }

  private async spooled<T>(use: (spool: BlobSpool) => Promise<T>): Promise<T> {
    const spool = await BlobSpool.open(this.layout, this.partials.buffers);
    try {
      return await use(spool);
    } finally {
      await spool.close();
    }
  }
}
