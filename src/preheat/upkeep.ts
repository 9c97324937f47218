import { Injectable, Logger } from '@nestjs/common';

import { messageOf } from '../domain/errors.js';
import { LockService } from '../lock/lock.service.js';
import { PreheatMetrics } from '../metrics/preheat-metrics.js';
import { MirrorServer } from '../mirror/mirror.server.js';
import type { RuntimeSnapshot } from '../runtime/image-runtime.js';
import { LoopbackNames } from '../runtime/loopback-names.js';
import { StoreSpace } from '../store/store-space.js';
import { keyOf } from './wanted-image.js';
import { WantedImages } from './wanted-images.js';

/** What is put in order at every check: left-over names, and records that nobody needs; and how big the store is. */
@Injectable()
export class Upkeep {
  private readonly logger = new Logger(Upkeep.name);

  constructor(
    private readonly wanted: WantedImages,
    private readonly loopbackNames: LoopbackNames,
    private readonly mirror: MirrorServer,
    private readonly lock: LockService,
    private readonly space: StoreSpace,
    private readonly metrics: PreheatMetrics,
  ) {}

  async tidy(snapshot: RuntimeSnapshot, signal: AbortSignal): Promise<void> {
    const wanted = this.wanted.all();
    this.space.setListed(new Set(wanted.map(({ image }) => image)));
    try {
      this.metrics.storeBytes(await this.space.usedBytes());
      if (this.loopbackNames.in(snapshot).length > 0)
        await this.loopbackNames.sweep((name) => this.mirror.isInUse(name), signal);
      await this.lock.prune(wanted.map(keyOf), signal);
    } catch (error) {
      signal.throwIfAborted();
      this.logger.warn(
        { error: messageOf(error) },
        'upkeep was not finished; it is tried again at the next check',
      );
    }
  }
}
