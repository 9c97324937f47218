import { Injectable } from '@nestjs/common';

import { PreheatFailure } from '../domain/errors.js';
import { ImageListService } from '../image-list/image-list.service.js';
import { RuntimeInventory } from '../preheat/runtime-inventory.js';
import { StoreProbe } from '../store/store-probe.js';
import type { ReadinessChecks } from './readiness-checks.js';

/** What this agent needs, asked of those who have it. */
@Injectable()
export class AgentReadiness implements ReadinessChecks {
  constructor(
    private readonly list: ImageListService,
    private readonly inventory: RuntimeInventory,
    private readonly storeProbe: StoreProbe,
  ) {}

  imageList(): Promise<void> {
    const { loadedAtMs, error } = this.list.snapshot;
    if (loadedAtMs !== undefined) return Promise.resolve();
    return Promise.reject(
      new PreheatFailure('no_source', `the image list was never read: ${error ?? 'not yet'}`),
    );
  }

  async runtime(signal: AbortSignal): Promise<void> {
    await this.inventory.snapshot(signal);
  }

  store(signal: AbortSignal): Promise<void> {
    return this.storeProbe.write(signal);
  }
}
