import type { Clock } from '../../src/common/clock.js';
import { PreheatFailure } from '../../src/domain/errors.js';
import type { Lease } from '../../src/lock/lease.js';

/** How long a lock stays with a holder that is gone, milliseconds. */
const EXPIRY_MS = 2000;

interface Holding {
  readonly instance: string;
  readonly lost: AbortController;
}

/** One lock per image for the nodes of one process. */
export class SwarmLock {
  private readonly holdings = new Map<string, Holding>();

  constructor(private readonly clock: Clock) {}

  holderOf(image: string): string | undefined {
    return this.holdings.get(image)?.instance;
  }

  /** Runs `work` with the lock. @returns undefined when somebody else has it; @param life of the node that asks */
  async with<T>(
    image: string,
    instance: string,
    life: AbortSignal,
    work: (lease: Lease) => Promise<T>,
  ): Promise<T | undefined> {
    if (this.holdings.has(image)) return undefined;
    const holding = { instance, lost: new AbortController() };
    this.holdings.set(image, holding);
    const isHeld = (): boolean => !holding.lost.signal.aborted && !life.aborted;
    try {
      // All that a transfer asks of a lease.
      return await work({ signal: holding.lost.signal, mayReadRegistry: isHeld } as unknown as Lease);
    } finally {
      if (isHeld()) this.holdings.delete(image);
      else this.expire(image, holding);
    }
  }

  /** The holder learns that it may have lost the lock; the others get it when it has expired. */
  lose(image: string): void {
    this.holdings.get(image)?.lost.abort(new PreheatFailure('lock_unavailable', 'the lock was lost'));
  }

  private expire(image: string, holding: Holding): void {
    const end = (): void => {
      if (this.holdings.get(image) === holding) this.holdings.delete(image);
    };
    this.clock.sleep(EXPIRY_MS).then(end, end);
  }
}
