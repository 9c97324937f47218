import { Inject, Injectable } from '@nestjs/common';

import { Clock } from '../common/clock.js';
import { TokenBucket } from '../common/token-bucket.js';
import { AppConfig } from '../config/app-config.js';
import { PreheatMetrics } from '../metrics/preheat-metrics.js';

/**
 * Blob streams that are sent to peers at once. Each holds two read buffers of 256 KiB, so that all of them together
 * stay within the 32 MiB that transfers may take.
 */
const MAX_STREAMS = 60;

/** What this node sends to all peers together: one byte rate (`DOWNLOAD_RATE_LIMIT`) and a number of streams. */
@Injectable()
export class Uplink {
  private readonly bucket: TokenBucket;
  private streams = 0;

  constructor(
    @Inject(AppConfig) config: AppConfig,
    @Inject(Clock) clock: Clock,
    private readonly metrics: PreheatMetrics,
  ) {
    this.bucket = new TokenBucket(config.limits.downloadRateBytesPerSecond, clock);
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
