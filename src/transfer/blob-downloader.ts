import { Injectable } from '@nestjs/common';

import { anySignal, StallTimer } from '../common/abort.js';
import { PreheatFailure } from '../domain/errors.js';
import { BlobStore } from '../store/blob-store.js';
import type { PartialBlob } from '../store/partial-blob.js';
import type { BlobSource, WantedBlob } from './blob-source.js';
import { Downlink } from './downlink.js';

/**
 * A stream that brings nothing for this long is given up for another source, or for another try at the same. Short for
 * peers: a frozen lock holder is replaced only once those who read from it have noticed.
 */
const STALL_MS: Readonly<Record<BlobSource['kind'], number>> = {
  archive: 30_000,
  peer: 6_000,
  registry: 30_000,
};

/** Brings one blob from one source into the store, from where an earlier attempt left off. */
@Injectable()
export class BlobDownloader {
  constructor(
    private readonly downlink: Downlink,
    private readonly store: BlobStore,
  ) {}

  /**
   * Resolves when the blob is in the store, whole and verified. What arrived before a failure is kept for the next
   * attempt, unless the blob turned out wrong as a whole (`corrupt`).
   * @param onBytes called with the number of bytes that arrived
   */
  async download(
    blob: WantedBlob,
    source: BlobSource,
    signal: AbortSignal,
    onBytes: (count: number) => void,
  ): Promise<void> {
    const partial = await this.store.openPartial(blob.digest, blob.size, signal);
    try {
      if (partial.prefixBytes < blob.size) await this.receive(blob, partial, source, signal, onBytes);
      await partial.commit();
    } finally {
      await partial.park();
    }
  }

  /** Drops what an earlier attempt brought, so that the next one owes every byte to a single source. */
  async forget(blob: WantedBlob): Promise<void> {
    const partial = await this.store.openPartial(blob.digest, blob.size);
    await partial.discard();
  }

  /** From where the bytes end that are there without a gap. */
  private async receive(
    blob: WantedBlob,
    partial: PartialBlob,
    source: BlobSource,
    signal: AbortSignal,
    onBytes: (count: number) => void,
  ): Promise<void> {
    const stallMs = STALL_MS[source.kind];
    const stall = new StallTimer(
      stallMs,
      () => new PreheatFailure('timeout', `${source.name} sent nothing for ${stallMs / 1000} s`),
    );
    const alive = anySignal(signal, stall.signal);
    try {
      const range = { start: partial.prefixBytes, end: blob.size };
      const { start, stream } = await source.open(blob, range, alive);
      // A source without ranges sends all of it again: what is there already is passed over.
      await partial.write(start, stream, alive, {
        onPiece: (bytes) => {
          stall.touch();
          onBytes(bytes);
          return this.downlink.take(bytes, alive);
        },
      });
    } finally {
      stall.stop();
    }
  }
}
