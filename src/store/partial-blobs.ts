import { stat } from 'node:fs/promises';

import type { Clock } from '../common/clock.js';
import type { Digest } from '../domain/digest.js';
import { BlobBusyError } from './blob-busy-error.js';
import { BufferPool } from './buffer-pool.js';
import { PartialBlob } from './partial-blob.js';
import type { StoreLayout } from './store-layout.js';

const WRITE_BUFFER_BYTES = 1024 * 1024;
/** 8 MiB are kept; bursts above that go back to the collector. */
const KEPT_WRITE_BUFFERS = 8;
/** Each keeps a file open. */
const MAX_PARKED = 64;

/**
 * The partial blobs of this process: those that have a writer, and those between two writers, which are still served and
 * gone on with without hashing them again.
 */
export class PartialBlobs {
  /** Lent to whoever writes. */
  readonly buffers = new BufferPool(WRITE_BUFFER_BYTES, KEPT_WRITE_BUFFERS);
  /** Undefined while it is being opened. */
  private readonly written = new Map<Digest, PartialBlob | undefined>();
  /** The one parked last at the end. */
  private readonly parked = new Map<Digest, PartialBlob>();
  /** Those parked that are being let go of: their files are theirs until then. */
  private readonly leaving = new Map<Digest, Promise<void>>();

  constructor(
    private readonly layout: StoreLayout,
    private readonly clock: Clock,
  ) {}

  /** @throws BlobBusyError when it has a writer; see `BlobStore.openPartial` */
  async open(digest: Digest, size: number, signal?: AbortSignal): Promise<PartialBlob> {
    if (this.written.has(digest)) throw new BlobBusyError(digest);
    const parked = this.parked.get(digest);
    if (parked?.size === size) {
      this.parked.delete(digest);
      this.written.set(digest, parked);
      return parked;
    }
    this.written.set(digest, undefined);
    try {
      if (parked) await this.letGo(parked, () => parked.close());
      await this.leaving.get(digest);
      const partial = await this.openFiles(digest, size, signal);
      this.written.set(digest, partial);
      return partial;
    } catch (error) {
      this.written.delete(digest);
      throw error;
    }
  }

  /** One that was opened in this process, whether it has a writer or not. */
  get(digest: Digest): PartialBlob | undefined {
    return this.written.get(digest) ?? this.parked.get(digest);
  }

  isBeingWritten(digest: Digest): boolean {
    return this.written.has(digest);
  }

  /** Whether something is left of it, maybe from an earlier process. */
  async exists(digest: Digest): Promise<boolean> {
    if (this.get(digest)) return true;
    return stat(this.layout.partialRecord(digest)).then(
      () => true,
      () => false,
    );
  }

  /** Drops one that nobody writes. */
  async discardParked(digest: Digest): Promise<void> {
    const parked = this.parked.get(digest);
    if (parked) await this.letGo(parked, () => parked.discard());
    else await this.leaving.get(digest);
  }

  /** Keeps all of them for the next start. */
  async close(): Promise<void> {
    for (const partial of [...this.written.values(), ...this.parked.values()]) await partial?.close();
    await Promise.all(this.leaving.values());
  }

  private openFiles(digest: Digest, size: number, signal: AbortSignal | undefined): Promise<PartialBlob> {
    return PartialBlob.open(
      {
        digest,
        size,
        layout: this.layout,
        buffers: this.buffers,
        clock: this.clock,
        onReleased: (released) => this.forget(released),
        onParked: (left) => this.park(left),
      },
      signal,
    );
  }

  private park(partial: PartialBlob): void {
    this.written.delete(partial.digest);
    this.parked.set(partial.digest, partial);
    const [oldest] = this.parked.values();
    // What fails is met again by whoever opens it next.
    if (oldest && this.parked.size > MAX_PARKED)
      this.letGo(oldest, () => oldest.close()).catch(() => undefined);
  }

  /** From here on it is found no more; whoever opens it anew waits until its files are nobody's. */
  private letGo(partial: PartialBlob, end: () => Promise<void>): Promise<void> {
    const { digest } = partial;
    this.parked.delete(digest);
    const ended = end();
    const left = ended.catch(() => undefined).finally(() => this.leaving.delete(digest));
    this.leaving.set(digest, left);
    return ended;
  }

  private forget(partial: PartialBlob): void {
    for (const known of [this.written, this.parked])
      if (known.get(partial.digest) === partial) known.delete(partial.digest);
  }
}
