import { Injectable } from '@nestjs/common';

import { anySignal, StallTimer } from '../common/abort.js';
import { PreheatFailure } from '../domain/errors.js';
import { BlobStore } from '../store/blob-store.js';
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
    const partial = await this.store.openPartial(blob.digest, blob.size);
    try {
      const start = partial.prefixBytes;
      if (start < blob.size) {
        const stall = new StallTimer(
          STALL_MS[source.kind],
          () =>
            new PreheatFailure(
              'timeout',
              `${source.name} sent nothing for ${STALL_MS[source.kind] / 1000} s`,
            ),
        );
        try {
          const alive = anySignal(signal, stall.signal);
          const { start: from, stream } = await source.open(blob, start, alive);
          const arriving = this.receive(stream, start - from, alive, (count) => {
            stall.touch();
            onBytes(count);
          });
          await partial.write(start, arriving, alive);
        } finally {
          stall.stop();
        }
      }
      await partial.commit();
    } finally {
      await partial.close();
    }
  }

  /** Drops what an earlier attempt brought, so that the next one owes every byte to a single source. */
  async forget(blob: WantedBlob): Promise<void> {
    const partial = await this.store.openPartial(blob.digest, blob.size);
    await partial.discard();
  }

  /** The stream without its first `skip` bytes (a source without Range sends them again), at the rate we may receive. */
  private async *receive(
    stream: AsyncIterable<Uint8Array>,
    skip: number,
    signal: AbortSignal,
    onBytes: (count: number) => void,
  ): AsyncGenerator<Uint8Array> {
    let toSkip = skip;
    for await (const bytes of stream) {
      await this.downlink.take(bytes.length, signal);
      onBytes(bytes.length);
      const fresh = bytes.subarray(Math.min(toSkip, bytes.length));
      toSkip -= bytes.length - fresh.length;
      if (fresh.length > 0) yield fresh;
    }
  }
}
