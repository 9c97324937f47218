import { Inject, Injectable } from '@nestjs/common';
import PQueue from 'p-queue';

import { AppConfig } from '../config/app-config.js';

/** Lock holders go before everybody else: the whole cluster waits for them. */
const HOLDER_PRIORITY = 1_000_000_000;

/**
 * How many images this node works on at once (`PREHEAT_CONCURRENCY`). A slot is held while bytes move or the runtime
 * loads, and never while an image waits for others; leases are counted on their own, so that a node does not sit on
 * the locks of images that it has no slot for.
 */
@Injectable()
export class Slots {
  private readonly working: PQueue;
  private readonly leasing: PQueue;

  constructor(@Inject(AppConfig) { preheatConcurrency }: AppConfig) {
    this.working = new PQueue({ concurrency: preheatConcurrency });
    this.leasing = new PQueue({ concurrency: preheatConcurrency });
  }

  work<T>(priority: number, holdsLease: boolean, signal: AbortSignal, job: () => Promise<T>): Promise<T> {
    return this.working.add(job, { priority: holdsLease ? HOLDER_PRIORITY : priority, signal });
  }

  lease<T>(priority: number, signal: AbortSignal, job: () => Promise<T>): Promise<T> {
    return this.leasing.add(job, { priority, signal });
  }
}
