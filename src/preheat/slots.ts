import { Inject, Injectable } from '@nestjs/common';
import PQueue from 'p-queue';

import { AppConfig } from '../config/app-config.js';

/** Who is about to hold a lock goes before everybody else: the whole cluster waits for it. */
const HOLDER_PRIORITY = 1_000_000_000;

/** Taken before a lock is, so that nobody holds a lock while it waits for a slot. */
export interface HolderSlot {
  /** Waits for it. @throws the signal's reason */
  take(): Promise<void>;
  leave(): void;
}

/**
 * How many images this node works on at once (`PREHEAT_CONCURRENCY`). A slot is held while bytes move or the runtime
 * loads, and never while an image waits for others. Tries for a lock are counted on their own: a node wants no more
 * locks than it has slots for.
 */
@Injectable()
export class Slots {
  private readonly working: PQueue;
  private readonly trying: PQueue;

  constructor(@Inject(AppConfig) { preheatConcurrency }: Pick<AppConfig, 'preheatConcurrency'>) {
    this.working = new PQueue({ concurrency: preheatConcurrency });
    this.trying = new PQueue({ concurrency: preheatConcurrency });
  }

  work<T>(priority: number, signal: AbortSignal, job: () => Promise<T>): Promise<T> {
    return this.working.add(job, { priority, signal });
  }

  /** Runs `job`, which tries for a lock. */
  try<T>(priority: number, signal: AbortSignal, job: () => Promise<T>): Promise<T> {
    return this.trying.add(job, { priority, signal });
  }

  /** A slot for who is about to take a lock. Whoever asks for it leaves it, taken or not. */
  forHolder(signal: AbortSignal): HolderSlot {
    const left = Promise.withResolvers<undefined>();
    return {
      take: () =>
        new Promise((resolve, reject) => {
          const held = (): Promise<undefined> => {
            resolve();
            return left.promise;
          };
          this.working.add(held, { priority: HOLDER_PRIORITY, signal }).catch(reject);
        }),
      leave: () => left.resolve(undefined),
    };
  }
}
