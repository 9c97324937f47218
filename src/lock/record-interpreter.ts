import { Inject, Injectable } from '@nestjs/common';

import { Clock } from '../common/clock.js';
import { AppConfig } from '../config/app-config.js';
import { FAILURE_REASONS, type FailureReason } from '../domain/preheat-state.js';
import { HolderProof } from './holder-proof.js';
import { LockIdentity } from './lock-identity.js';
import { type LockRecord, type RecordFailure, recordNodeName } from './record.js';
import type { RecordEntry } from './record-book.js';
import type { RecordView } from './record-view.js';

/**
 * Whether the lock may be taken: not, when it is this node's turn, or at once because it is this node's already or
 * nobody else could do what this node can.
 */
export type Claim = 'no' | 'in-turn' | 'at-once';

/** What the lock is wanted for. An archive is no registry: failures of the registry do not bind who has one. */
export type Purpose = 'registry' | 'archive';

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
    if (entry?.decoded.kind === 'unknown-version') return 'no';
    const record = recordOf(entry);
    const whenFree = purpose === 'archive' ? 'at-once' : 'in-turn';
    if (!entry || !record) return whenFree;
    const { holder } = record;
    if (!holder) return purpose === 'registry' && this.waitLeftMs(entry, record) > 0 ? 'no' : whenFree;
    if (this.isOwn(holder)) return 'at-once';
    if (this.clock.monotonicMs() - entry.sinceMs >= this.config.lock.timeoutMs) return 'in-turn';
    return (await this.proof.isGone(holder, signal)) ? 'in-turn' : 'no';
  }

  /**
   * A lock of this process without a lease is the trace of a swap whose answer was lost; one of another process on this
   * node and at this address is that of our predecessor, for only one can listen there.
   */
  private isOwn({ instance, node, address }: NonNullable<LockRecord['holder']>): boolean {
    return (
      instance === this.self.instance ||
      (node === recordNodeName(this.self.node) && address === this.self.address)
    );
  }

  private waitLeftMs({ sinceMs }: RecordEntry, { failure }: LockRecord): number {
    return failure ? Math.max(0, failure.retryAfterMs - (this.clock.monotonicMs() - sinceMs)) : 0;
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

/** The record, when there is one that can be believed. */
export function recordOf(entry: RecordEntry | undefined): LockRecord | undefined {
  return entry?.decoded.kind === 'record' ? entry.decoded.record : undefined;
}
