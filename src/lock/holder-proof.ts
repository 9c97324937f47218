import { Inject, Injectable } from '@nestjs/common';

import { Clock } from '../common/clock.js';
import { PreheatFailure } from '../domain/errors.js';
import { withDeadline } from './deadline.js';
import { HolderProbe, type ProbeResult } from './holder-probe.js';
import type { RecordHolder } from './record.js';
import { SharedCall } from './shared-call.js';

const PROBE_TIMEOUT_MS = 3000;
/** A restarting listener refuses for a moment; a dead process goes on refusing. */
const SECOND_PROBE_AFTER_MS = 1000;
/** A holder that was found alive, or silent, is left alone for this long. */
const VERDICT_HOLDS_MS = 2000;

/**
 * Finds out whether a lock holder is certainly gone: nothing listens at its address, twice, or another process answers
 * there. Silence proves nothing: the network may be to blame, or a process that wakes up again.
 */
@Injectable()
export class HolderProof {
  private readonly calls = new Map<string, SharedCall<boolean>>();
  private readonly unproven = new Map<string, number>();

  constructor(
    @Inject(HolderProbe) private readonly holderProbe: HolderProbe,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  /** All images held by one process are settled by one probe. Rejects only with the signal's reason. */
  async isGone({ address, instance }: RecordHolder, signal: AbortSignal): Promise<boolean> {
    const id = `${instance}@${address}`;
    const atMs = this.unproven.get(id);
    if (atMs !== undefined && this.clock.monotonicMs() - atMs < VERDICT_HOLDS_MS) return false;
    const call = this.calls.get(id) ?? new SharedCall<boolean>();
    this.calls.set(id, call);
    try {
      const gone = await call.join((shared) => this.prove(address, instance, shared), signal);
      this.remember(id, gone);
      return gone;
    } finally {
      this.calls.delete(id);
    }
  }

  private async prove(address: string, instance: string, signal: AbortSignal): Promise<boolean> {
    const first = await this.probe(address, signal);
    if (first !== 'refused') return first !== 'silent' && first.instance !== instance;
    await this.clock.sleep(SECOND_PROBE_AFTER_MS, signal);
    const second = await this.probe(address, signal);
    return second === 'refused' || (second !== 'silent' && second.instance !== instance);
  }

  private async probe(address: string, signal: AbortSignal): Promise<ProbeResult> {
    try {
      const late = () => new PreheatFailure('timeout', `no answer from the lock holder at ${address}`);
      return await withDeadline(
        this.clock,
        PROBE_TIMEOUT_MS,
        late,
        (limited) => this.holderProbe.probe(address, limited),
        signal,
      );
    } catch {
      signal.throwIfAborted();
      return 'silent';
    }
  }

  private remember(id: string, gone: boolean): void {
    const nowMs = this.clock.monotonicMs();
    for (const [other, atMs] of this.unproven)
      if (nowMs - atMs >= VERDICT_HOLDS_MS) this.unproven.delete(other);
    if (!gone) this.unproven.set(id, nowMs);
  }
}
