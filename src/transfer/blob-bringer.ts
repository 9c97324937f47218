import { Logger } from '@nestjs/common';

import { isAbort } from '../common/abort.js';
import type { Clock } from '../common/clock.js';
import { messageOf, reasonOf } from '../domain/errors.js';
import type { FailureReason } from '../domain/preheat-state.js';
import type { PeerService } from '../peers/peer.service.js';
import type { BlobDownloader } from './blob-downloader.js';
import type { BlobSource, WantedBlob } from './blob-source.js';
import type { Contributions } from './contributions.js';
import type { Flights } from './flights.js';
import type { PeerFailures } from './peer-failures.js';
import { PeerSource } from './peer.source.js';
import { withRegistryRetries } from './registry-retries.js';

/** Failures of one blob at one peer, archive or registry after which it is not asked for it again. */
const MAX_FAILURES = 3;
/** What no other source mends. */
const LOCAL: ReadonlySet<FailureReason> = new Set(['insufficient_disk', 'store_full', 'lock_unavailable']);

export interface BringerParts {
  readonly downloader: BlobDownloader;
  readonly peers: PeerService;
  readonly flights: Flights;
  readonly clock: Clock;
}

/** Brings single blobs of one image, and decides what a source's failure means. */
export class BlobBringer {
  private readonly logger = new Logger(BlobBringer.name);
  /** `digest source` to its failures. */
  private readonly failures = new Map<string, number>();

  constructor(
    private readonly image: string,
    private readonly contributions: Contributions,
    private readonly peerFailures: PeerFailures,
    private readonly parts: BringerParts,
    private readonly onBytes: (count: number) => void,
  ) {}

  /** True when `source` failed for this blob too often. */
  isExcluded(blob: WantedBlob, source: string): boolean {
    return (this.failures.get(`${blob.digest} ${source}`) ?? 0) >= MAX_FAILURES;
  }

  /**
   * @returns false when this source failed and another one may do
   * @throws PreheatFailure when no other source would help
   */
  async bring(blob: WantedBlob, source: BlobSource, signal: AbortSignal): Promise<boolean> {
    if (this.parts.flights.has(blob.digest)) return false;
    try {
      await this.parts.flights.run(blob.digest, () => this.bringFrom(blob, source, signal));
      return true;
    } catch (error) {
      if (isAbort(error, signal)) throw error;
      if (LOCAL.has(reasonOf(error, 'no_source'))) throw error;
      await this.judge(blob, source, error);
      if (source.kind === 'registry') throw error;
      return false;
    }
  }

  private async bringFrom(blob: WantedBlob, source: BlobSource, signal: AbortSignal): Promise<void> {
    const attempt = async (note: () => void): Promise<void> => {
      const startedMs = this.parts.clock.monotonicMs();
      let arrived = 0;
      try {
        await this.parts.downloader.download(blob, source, signal, (count) => {
          arrived += count;
          this.onBytes(count);
        });
      } finally {
        if (arrived > 0) {
          note();
          this.contributions.add(blob.digest, source, startedMs, this.parts.clock.monotonicMs());
        }
      }
    };
    if (source.kind === 'registry') await withRegistryRetries(attempt, this.parts.clock, signal);
    else await attempt(() => undefined);
  }

  private async judge(blob: WantedBlob, source: BlobSource, error: unknown): Promise<void> {
    const key = `${blob.digest} ${source.name}`;
    this.failures.set(key, (this.failures.get(key) ?? 0) + 1);
    const corrupt = reasonOf(error, 'no_source') === 'corrupt';
    const guilty = corrupt && this.contributions.blame(blob.digest);
    if (!corrupt && this.contributions.mustComeAlone(blob.digest)) await this.parts.downloader.forget(blob);
    if (guilty) this.failures.set(key, MAX_FAILURES);
    this.logger.warn(
      { image: this.image, digest: blob.digest, source: source.name, error: messageOf(error) },
      'a source failed',
    );
    if (!(source instanceof PeerSource)) return;
    if (guilty) this.parts.peers.quarantine(source.peer, this.image);
    else if (!corrupt) this.parts.peers.report(source.peer, error);
    this.peerFailures.count(source.name, error);
  }
}
