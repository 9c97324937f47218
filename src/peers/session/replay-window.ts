/** How far behind the highest counter a request may still arrive: requests of one session run concurrently. */
export const REPLAY_WINDOW = 1024;

/**
 * Accepts each counter once, and none that is `REPLAY_WINDOW` or more behind the highest seen (as IPsec does, RFC 4303
 * section 3.4.3).
 */
export class ReplayWindow {
  /** 1 at `counter % REPLAY_WINDOW` for every counter of the window that was seen. */
  private readonly seen = new Uint8Array(REPLAY_WINDOW);
  private highest = 0;

  /** @param counter a safe integer from 1 */
  accept(counter: number): boolean {
    if (counter <= this.highest - REPLAY_WINDOW) return false;
    this.advanceTo(counter);
    const slot = counter % REPLAY_WINDOW;
    if (this.seen[slot] === 1) return false;
    this.seen[slot] = 1;
    return true;
  }

  /** Slots that the window moves over stood for counters that are out of it now. */
  private advanceTo(counter: number): void {
    const steps = Math.min(counter - this.highest, REPLAY_WINDOW);
    for (let step = 0; step < steps; step += 1) this.seen[(counter - step) % REPLAY_WINDOW] = 0;
    this.highest = Math.max(this.highest, counter);
  }
}
