import { Injectable } from '@nestjs/common';

import { formatBytes } from '../common/units.js';
import { PreheatFailure } from '../domain/errors.js';
import { type ImageKey, recordKeyOf } from './image-key.js';
import type { Lease } from './lease.js';
import { LeaseKeeper } from './lease-keeper.js';
import { FULL_ABOVE_BYTES, PRUNE_ABOVE_BYTES, recordsToRemove } from './pruning.js';
import { RecordBook } from './record-book.js';
import { holderOf, type Purpose, RecordInterpreter } from './record-interpreter.js';
import type { RecordView } from './record-view.js';
import { TurnOrder } from './turn-order.js';

const REMOVAL_TIMEOUT_MS = 10_000;

type Preparation = () => Promise<void>;

/**
 * The cluster's lock per image and platform, and what it has agreed on: which digest a tag names, and which failures
 * all nodes wait out. Without a lease nobody reads the registry.
 *
 * Nothing here runs by itself but the renewal of leases: when no image is missing, no request is made.
 */
@Injectable()
export class LockService {
  private readonly acquiring = new Set<string>();

  constructor(
    private readonly book: RecordBook,
    private readonly interpreter: RecordInterpreter,
    private readonly turns: TurnOrder,
    private readonly keeper: LeaseKeeper,
  ) {}

  /**
   * How long a waiter waits between two look-ups of one image, jittered.
   * @param eager for a while, when the record is about to say more: sooner, as far as the cluster's size allows
   */
  pollIntervalMs(eager = false): number {
    return this.turns.pollIntervalMs(eager);
  }

  /**
   * What the cluster knows of an image; one read of the backend serves all images of this node, and a holder needs none
   * for its own: a cache of the backend could still say what was before its last swap. When the backend cannot be asked,
   * the last that was known, `readOnly`. Rejects only with the signal's reason.
   */
  async lookup(key: ImageKey, signal: AbortSignal): Promise<RecordView> {
    signal.throwIfAborted();
    const recordKey = recordKeyOf(key);
    const held = this.keeper.entryOf(recordKey);
    if (held) return this.interpreter.view(held, false);
    const maxAgeMs = this.turns.readableAgeMs(this.isHeld(recordKey));
    const { entries, readOnly } = await this.book.readOrRecall(maxAgeMs, signal);
    return this.interpreter.view(entries.get(recordKey), readOnly);
  }

  /** What was read last of an image, by whichever look-up: asks nobody, and knows nothing where there was none. */
  known(key: ImageKey): RecordView {
    const { entries, readOnly } = this.book.last;
    return this.interpreter.view(entries.get(recordKeyOf(key)), readOnly);
  }

  /**
   * Tries for the right to read an image from the registry: waits for this node's turn (up to 10 s), looks again, then
   * tries once. A lock whose holder is gone is taken over. This process must answer peers at its address before, or
   * they take its locks for a dead one's.
   * @param beforeTaking awaited when it is this node's turn: what may take long is not waited for with the lock in hand,
   * and someone else may be faster meanwhile
   * @returns undefined when someone else has it or was faster, when a failure is still to be waited out, or when it is
   * not this node's turn yet: come back after `pollIntervalMs()`
   * @throws PreheatFailure `lock_unavailable`, `lock_full`
   */
  async acquire(key: ImageKey, signal: AbortSignal, beforeTaking?: Preparation): Promise<Lease | undefined> {
    return this.acquireFor('registry', key, signal, beforeTaking);
  }

  /**
   * The same, for a node that can tell what the tag means without the registry: it waits neither for a turn nor for a
   * failure of the registry to be over. A holder who is at work is left alone.
   */
  async acquireForArchive(
    key: ImageKey,
    signal: AbortSignal,
    beforeTaking?: Preparation,
  ): Promise<Lease | undefined> {
    return this.acquireFor('archive', key, signal, beforeTaking);
  }

  /**
   * Removes records that nobody needs, only when all records together have grown large. Looks at what was read last,
   * so it costs nothing while there is nothing to remove.
   * @param listed every image that this node's list or a request names: theirs are never removed
   */
  async prune(listed: Iterable<ImageKey>, signal: AbortSignal): Promise<void> {
    const keys = new Set(Array.from(listed, recordKeyOf));
    this.turns.retain(keys);
    for (const [recordKey, { text }] of recordsToRemove(this.book.last, keys)) {
      await this.book.swap(recordKey, text, undefined, REMOVAL_TIMEOUT_MS, signal);
    }
  }

  private async acquireFor(
    purpose: Purpose,
    key: ImageKey,
    signal: AbortSignal,
    beforeTaking: Preparation | undefined,
  ): Promise<Lease | undefined> {
    const recordKey = recordKeyOf(key);
    if (this.acquiring.has(recordKey) || this.keeper.holds(recordKey)) return undefined;
    this.acquiring.add(recordKey);
    try {
      return await this.tryFor(purpose, key, recordKey, signal, beforeTaking);
    } finally {
      this.acquiring.delete(recordKey);
    }
  }

  private async tryFor(
    purpose: Purpose,
    key: ImageKey,
    recordKey: string,
    signal: AbortSignal,
    beforeTaking: Preparation | undefined,
  ): Promise<Lease | undefined> {
    const { entries, sizeBytes } = await this.book.read(this.turns.readableAgeMs(), signal);
    const entry = entries.get(recordKey);
    if (!entry && sizeBytes > FULL_ABOVE_BYTES) throw full(key, sizeBytes);
    const claim = await this.interpreter.claim(entry, purpose, signal);
    if (claim === 'no') {
      this.turns.forget(recordKey);
      return undefined;
    }
    if (claim === 'in-turn') {
      const isFree = async (): Promise<boolean> => {
        const again = await this.book.read(0, signal);
        return again.entries.get(recordKey)?.text === entry?.text;
      };
      if ((await this.turns.wait(key, recordKey, entry, isFree, signal)) !== 'now') return undefined;
    }
    this.turns.forget(recordKey);
    await beforeTaking?.();
    const lease = await this.keeper.take(key, entry?.text, this.interpreter.toTake(entry), signal);
    if (lease) this.turns.taken(recordKey, entry);
    return lease;
  }

  /** By what was read last. */
  private isHeld(recordKey: string): boolean {
    const entry = this.book.last.entries.get(recordKey);
    return entry !== undefined && holderOf(entry) !== undefined;
  }
}

function full({ image }: ImageKey, sizeBytes: number): PreheatFailure {
  return new PreheatFailure(
    'lock_full',
    `no room for a record of ${image}: the records take ${formatBytes(sizeBytes)}, new ones are made up to ` +
      `${formatBytes(FULL_ABOVE_BYTES)}, and unlisted ones are removed above ${formatBytes(PRUNE_ABOVE_BYTES)}`,
  );
}
