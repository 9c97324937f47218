import { Inject, Injectable } from '@nestjs/common';

import { Clock } from '../common/clock.js';
import { TokenBucket } from '../common/token-bucket.js';
import { AppConfig } from '../config/app-config.js';
import { PreheatMetrics } from '../metrics/preheat-metrics.js';

/**
 * Blob streams that are sent to peers at once. Each holds a read buffer of 1 MiB, so that all of them together stay
 * within the 32 MiB that transfers may take.
 */
const MAX_STREAMS = 30;
/** Below that a rate is so low that nobody minds in which steps it is kept. */
const MIN_PIECE_BYTES = 16 * 1024;

/** What this node sends to all peers together: one byte rate (`DOWNLOAD_RATE_LIMIT`) and a number of streams. */
@Injectable()
export class Uplink {
  private readonly bucket: TokenBucket;
  private streams = 0;
  /** Of what is sent at once: a low rate would come in lumps otherwise. */
  readonly maxPieceBytes: number;

  constructor(
    @Inject(AppConfig) config: AppConfig,
    @Inject(Clock) clock: Clock,
    private readonly metrics: PreheatMetrics,
  ) {
    this.bucket = new TokenBucket(config.limits.downloadRateBytesPerSecond, clock);
    this.maxPieceBytes = Math.max(MIN_PIECE_BYTES, this.bucket.burst);
  }

  /** A place among the blob streams, to be released once; undefined when all are taken. */
  tryEnter(): (() => void) | undefined {
    if (this.streams >= MAX_STREAMS) return undefined;
    this.streams += 1;
    let entered = true;
    return () => {
      if (entered) this.streams -= 1;
      entered = false;
    };
  }

  /** Resolves when `bytes` more may be sent, and counts them as sent. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    await this.bucket.take(bytes, signal);
    this.metrics.peerSentBytes(bytes);
  }
}
