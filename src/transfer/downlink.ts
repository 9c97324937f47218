import { Inject, Injectable } from '@nestjs/common';

import { Clock } from '../common/clock.js';
import { TokenBucket } from '../common/token-bucket.js';
import { AppConfig } from '../config/app-config.js';

/** What this node receives of images, from whomever: one byte rate (`RECEIVE_RATE_LIMIT`). */
@Injectable()
export class Downlink {
  private readonly bucket: TokenBucket;

  constructor(@Inject(AppConfig) config: AppConfig, @Inject(Clock) clock: Clock) {
    this.bucket = new TokenBucket(config.limits.receiveRateBytesPerSecond, clock);
  }

  /** Resolves when `bytes` more may be taken in. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    await this.bucket.take(bytes, signal);
  }
}
