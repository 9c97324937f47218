import { Inject, Injectable } from '@nestjs/common';

import { Clock } from '../common/clock.js';
import { MAX_RANK_WAIT_MS, RANK_STEP_MS, rankOf } from './election.js';
import type { ImageKey } from './image-key.js';
import { KnownNodes } from './known-nodes.js';
import { LockIdentity } from './lock-identity.js';
import type { RecordEntry } from './record-snapshot.js';
import { recordOf } from './record-interpreter.js';

const MIN_POLL_MS = 2000;
/** While a holder has just begun, more is to be known soon; the budget of `POLLS_PER_SECOND` holds all the same. */
const MIN_EAGER_POLL_MS = 300;
/** All waiters together ask about this often per second, whatever their number. */
const POLLS_PER_SECOND = 20;
/** Part of a delay that is added at random; polls spread out fast, so that a start in step does not stay in step. */
const RANK_JITTER = 0.3;
const POLL_JITTER = 0.5;

/** What came of waiting for one's turn: it came, somebody was faster, or it is too far off to wait for. */
export type Turn = 'now' | 'lost' | 'later';

/** Who tries when: nodes that want a free lock go one after another instead of all at once. */
@Injectable()
export class TurnOrder {
  /** Since when this process knows a lock to be free, for the ranks that are too far off to wait in one call. */
  private readonly freeSince = new Map<
    string,
    { readonly text: string | undefined; readonly atMs: number }
  >();
  /** Per record whose lock this process has had, how many attempts had failed before. */
  private readonly failedBefore = new Map<string, number>();

  constructor(
    @Inject(KnownNodes) private readonly known: KnownNodes,
    @Inject(LockIdentity) private readonly self: LockIdentity,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  /**
   * How long a waiter leaves the backend alone: longer the more nodes there are, and never the same twice.
   * @param eager something is about to happen: a small cluster looks more often then
   */
  pollIntervalMs(eager = false): number {
    return this.minPollIntervalMs(eager) * (1 + POLL_JITTER * Math.random());
  }

  /**
   * A read this old still serves: what one image's look-up has read serves the others of this node. Less than any poll
   * interval, so that a waiter never sees the same read twice.
   */
  readableAgeMs(eager = false): number {
    return this.minPollIntervalMs(eager) * 0.9;
  }

  /**
   * Waits for this node's turn. Whoever has met the last failure lets all others go first: it was the first to know of it,
   * and what it met may be its own, such as a bad way to the registry.
   * @param isFree looks whether the lock is still free; asked now and then, and before a turn that had to be waited for
   */
  async wait(
    key: ImageKey,
    recordKey: string,
    entry: RecordEntry | undefined,
    isFree: () => Promise<boolean>,
    signal: AbortSignal,
  ): Promise<Turn> {
    const leadMs = this.hasJustFailed(recordKey, entry) ? this.leadOfOthersMs() : 0;
    const rankWaitMs = this.rankOf(key, entry) * RANK_STEP_MS;
    const longestMs = MAX_RANK_WAIT_MS / (1 + RANK_JITTER);
    const waitMs = Math.min(rankWaitMs, longestMs) * (1 + RANK_JITTER * Math.random());
    const turnMs = this.freeSinceMs(recordKey, entry?.text) + leadMs + waitMs;
    for (;;) {
      const leftMs = turnMs - this.clock.monotonicMs();
      if (leftMs <= 0) return 'now';
      // Behind so many others a look of each after ten seconds would be a stampede; the next poll is soon enough.
      if (rankWaitMs + leadMs > MAX_RANK_WAIT_MS) return 'later';
      await this.clock.sleep(Math.min(leftMs, this.pollIntervalMs(true)), signal);
      if (!(await isFree())) return 'lost';
    }
  }

  /** This process has taken the lock: the next failure will be its own. */
  taken(recordKey: string, entry: RecordEntry | undefined): void {
    this.failedBefore.set(recordKey, failedAttempts(entry));
  }

  /** The lock is not free, or was tried for: counting begins anew. */
  forget(recordKey: string): void {
    this.freeSince.delete(recordKey);
  }

  /** Keeps what is known of these records only. */
  retain(recordKeys: ReadonlySet<string>): void {
    for (const known of [this.freeSince, this.failedBefore])
      for (const recordKey of known.keys()) if (!recordKeys.has(recordKey)) known.delete(recordKey);
  }

  private rankOf({ image }: ImageKey, entry: RecordEntry | undefined): number {
    const gone = recordOf(entry)?.holder?.node;
    const nodes = this.known.nodes().filter((node) => node !== gone);
    return rankOf(image, this.self.node, nodes, failedAttempts(entry));
  }

  private hasJustFailed(recordKey: string, entry: RecordEntry | undefined): boolean {
    const before = this.failedBefore.get(recordKey);
    return before !== undefined && failedAttempts(entry) === before + 1;
  }

  /** Another one may see a failure a poll later than who has met it, and that it is over a poll after that; then ranks count. */
  private leadOfOthersMs(): number {
    const others = this.known.nodes().filter((node) => node !== this.self.node).length;
    if (others === 0) return 0;
    const pollMs = this.minPollIntervalMs(false) * (1 + POLL_JITTER);
    return 2 * pollMs + Math.min(others * RANK_STEP_MS * (1 + RANK_JITTER), MAX_RANK_WAIT_MS);
  }

  private freeSinceMs(recordKey: string, text: string | undefined): number {
    const noted = this.freeSince.get(recordKey);
    if (noted?.text === text && noted) return noted.atMs;
    const atMs = this.clock.monotonicMs();
    this.freeSince.set(recordKey, { text, atMs });
    return atMs;
  }

  private minPollIntervalMs(eager: boolean): number {
    return Math.max(
      eager ? MIN_EAGER_POLL_MS : MIN_POLL_MS,
      (this.known.nodes().length / POLLS_PER_SECOND) * 1000,
    );
  }
}

function failedAttempts(entry: RecordEntry | undefined): number {
  return recordOf(entry)?.failure?.attempt ?? 0;
}
