import { Inject, Injectable, Logger } from '@nestjs/common';

import { AppConfig } from '../config/app-config.js';
import { messageOf } from '../domain/errors.js';
import { LockService } from '../lock/lock.service.js';
import { PreheatMetrics } from '../metrics/preheat-metrics.js';
import type { RuntimeSnapshot } from '../runtime/image-runtime.js';
import { StoreSpace } from '../store/store-space.js';
import { guardedDirectory } from './guarded-directory.js';
import { RuntimeNames } from './runtime-names.js';
import { keyOf } from './wanted-image.js';
import { WantedImages } from './wanted-images.js';

/** What is put in order at every check: the runtime's names, records that nobody needs, and the store. */
@Injectable()
export class Upkeep {
  private readonly logger = new Logger(Upkeep.name);

  constructor(
    @Inject(AppConfig) private readonly config: AppConfig,
    private readonly wanted: WantedImages,
    private readonly names: RuntimeNames,
    private readonly lock: LockService,
    private readonly space: StoreSpace,
    private readonly metrics: PreheatMetrics,
  ) {}

  /** Tells the store what is wanted, before anything is fetched that needs room: what is not goes first. */
  protectWanted(): void {
    this.space.setListed(new Set(this.wanted.all().map(({ image }) => image)));
  }

  /** Takes left-over names of pulls away, where the image has another one. */
  async sweepNames(signal: AbortSignal): Promise<void> {
    await this.names.sweep(signal);
  }

  async tidy(snapshot: RuntimeSnapshot, signal: AbortSignal): Promise<void> {
    try {
      await this.space.relieve(guardedDirectory(snapshot, this.config.runtime.kind));
      this.metrics.storeBytes(await this.space.usedBytes());
      await this.names.tidy(snapshot, signal);
      await this.lock.prune(this.wanted.all().map(keyOf), signal);
    } catch (error) {
      signal.throwIfAborted();
      this.logger.warn(
        { error: messageOf(error) },
        'upkeep was not finished; it is tried again at the next check',
      );
    }
  }
}
