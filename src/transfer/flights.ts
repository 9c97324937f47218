import { Injectable } from '@nestjs/common';

import type { Digest } from '../domain/digest.js';

/** One download per blob in this process, however many images want it. */
@Injectable()
export class Flights {
  private readonly active = new Map<Digest, Promise<undefined>>();

  has(digest: Digest): boolean {
    return this.active.has(digest);
  }

  /** Resolves when the download of `digest` that is under way has ended, well or not; at once when there is none. */
  async ended(digest: Digest): Promise<void> {
    await this.active.get(digest);
  }

  /** Sets about `digest`. @returns what ends it; undefined when somebody is at it */
  tryBegin(digest: Digest): (() => void) | undefined {
    if (this.active.has(digest)) return undefined;
    const flight = Promise.withResolvers<undefined>();
    this.active.set(digest, flight.promise);
    return () => {
      this.active.delete(digest);
      flight.resolve(undefined);
    };
  }

  /** Runs `download` as the one of `digest`. The caller has made sure that there is none. */
  async run(digest: Digest, download: () => Promise<void>): Promise<void> {
    const end = this.tryBegin(digest);
    if (!end) throw new Error(`${digest} is being downloaded already`);
    try {
      await download();
    } finally {
      end();
    }
  }
}
