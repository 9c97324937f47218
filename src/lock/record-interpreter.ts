import { Inject, Injectable } from '@nestjs/common';

import { Clock } from '../common/clock.js';
import { AppConfig } from '../config/app-config.js';
import { FAILURE_REASONS, type FailureReason } from '../domain/preheat-state.js';
import { HolderProof } from './holder-proof.js';
import { LockIdentity } from './lock-identity.js';
import {
  type LockRecord,
  type RecordFailure,
  type RecordHolder,
  recordNodeName,
  waitedOut,
} from './record.js';
import type { RecordEntry } from './record-snapshot.js';
import type { RecordView } from './record-view.js';

/**
 * Whether the lock may be taken: not, when it is this node's turn, or at once because it is this node's already or
 * nobody else could do what this node can.
 */
export type Claim = 'no' | 'in-turn' | 'at-once';

/** What the lock is wanted for. An archive is no registry: failures of the registry do not bind who has one. */
export type Purpose = 'registry' | 'archive';

/** Our key may be the old one: it is read again before a record with another's MAC is taken for nobody's. */
const KEY_CHECK_MS = 5000;

/** What a record means to this node. Clocks of other nodes are never compared with ours. */
@Injectable()
export class RecordInterpreter {
  constructor(
    private readonly proof: HolderProof,
    @Inject(LockIdentity) private readonly self: LockIdentity,
    @Inject(Clock) private readonly clock: Clock,
    @Inject(AppConfig) private readonly config: Pick<AppConfig, 'lock' | 'tagTtlMs'>,
  ) {}

  view(entry: RecordEntry | undefined, readOnly: boolean): RecordView {
    const unknownVersion = entry?.decoded.kind === 'unknown-version';
    const record = recordOf(entry);
    if (!entry || !record) return { stale: false, unknownVersion, readOnly };
    const { digest, origin, holder, failure } = record;
    const retryAfterMs = this.waitLeftMs(entry, record);
    return {
      ...(digest && { digest, origin: origin === 'archive' ? 'archive' : 'registry' }),
      stale: digest !== undefined && this.isStale(record.resolvedAt ?? 0),
      ...(holder && {
        holder: {
          node: holder.node,
          instance: holder.instance,
          address: holder.address,
          mine: holder.instance === this.self.instance,
        },
      }),
      ...(failure && !holder && retryAfterMs > 0 && { failure: { reason: reasonOf(failure), retryAfterMs } }),
      unknownVersion,
      readOnly,
    };
  }

  /** Whether this process, which has no lease of it, may take the lock; asks the holder's address for a proof. */
  async claim(entry: RecordEntry | undefined, purpose: Purpose, signal: AbortSignal): Promise<Claim> {
    const whenFree = purpose === 'archive' ? 'at-once' : 'in-turn';
    if (!entry) return whenFree;
    if (entry.decoded.kind === 'unknown-version' || this.mayBeOfNewKey(entry)) return 'no';
    const record = recordOf(entry);
    const holder = holderOf(entry);
    if (!holder) {
      const mustWait = record && purpose === 'registry' && this.waitLeftMs(entry, record) > 0;
      return mustWait ? 'no' : whenFree;
    }
    if (this.isOwn(holder)) return 'at-once';
    if (this.ageMs(entry) >= this.config.lock.timeoutMs) return 'in-turn';
    const verdict = await this.proof.verdictOn(holder, signal);
    return verdict === 'gone' || (verdict === 'unlisted' && !record) ? 'in-turn' : 'no';
  }

  /**
   * What a new holder goes on from. A failure that this node has waited out is not for others to wait out again because
   * the record's text is another now.
   */
  toTake(entry: RecordEntry | undefined): LockRecord | undefined {
    const record = recordOf(entry);
    return entry && record && this.waitLeftMs(entry, record) === 0 ? waitedOut(record) : record;
  }

  private mayBeOfNewKey(entry: RecordEntry): boolean {
    return entry.decoded.kind === 'untrusted' && this.ageMs(entry) < KEY_CHECK_MS;
  }

  private ageMs({ sinceMs }: RecordEntry): number {
    return this.clock.monotonicMs() - sinceMs;
  }

  /**
   * A lock of this process without a lease is the trace of a swap whose answer was lost; one of another process on this
   * node and at this address is that of our predecessor, for only one can listen there.
   */
  private isOwn({ instance, node, address }: RecordHolder): boolean {
    return (
      instance === this.self.instance ||
      (node === recordNodeName(this.self.node) && address === this.self.address)
    );
  }

  private waitLeftMs(entry: RecordEntry, { failure }: LockRecord): number {
    return failure ? Math.max(0, failure.retryAfterMs - this.ageMs(entry)) : 0;
  }

  /** Days, not seconds, are at stake here, so wall clocks will do; a record far from the future is not believed either. */
  private isStale(resolvedAtSeconds: number): boolean {
    const ageMs = this.clock.wallMs() - resolvedAtSeconds * 1000;
    return this.config.tagTtlMs > 0 && Math.abs(ageMs) > this.config.tagTtlMs;
  }
}

/** A newer agent may have a finer word for what its registry did; to us it is a failure of the registry. */
function reasonOf({ code }: RecordFailure): FailureReason {
  return FAILURE_REASONS.find((reason) => reason === code) ?? 'registry_error';
}

/**
 * Who has the lock, or claims to. While the key is being changed, a living holder's MAC may be of a key that we do not
 * have any more, or not yet: of what such a record says nothing is believed, but its lock is not taken either before
 * the holder is gone, its time is over, or its address turns out to be nobody's.
 */
export function holderOf({ decoded }: RecordEntry): RecordHolder | undefined {
  if (decoded.kind === 'unknown-version') return undefined;
  return decoded.kind === 'record' ? decoded.record.holder : decoded.holder;
}

/** The record, when there is one that can be believed. */
export function recordOf(entry: RecordEntry | undefined): LockRecord | undefined {
  return entry?.decoded.kind === 'record' ? entry.decoded.record : undefined;
}
