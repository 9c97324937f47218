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
 * What can be said of a lock holder. `gone`: nothing listens at its address, twice, or another process answers there.
 * `unlisted`: its address is none of this cluster's. `unproven`: it lives, or is silent, which proves nothing: the
 * network may be to blame, or it is a process that wakes up again.
 */
export type HolderVerdict = 'gone' | 'unlisted' | 'unproven';

/** Finds out whether a lock holder is certainly gone. */
@Injectable()
export class HolderProof {
  private readonly calls = new Map<string, SharedCall<HolderVerdict>>();
  private readonly unproven = new Map<string, number>();

  constructor(
    @Inject(HolderProbe) private readonly holderProbe: HolderProbe,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  /** All images held by one process are settled by one probe. Rejects only with the signal's reason. */
  async verdictOn({ address, instance }: RecordHolder, signal: AbortSignal): Promise<HolderVerdict> {
    const id = `${instance}@${address}`;
    const atMs = this.unproven.get(id);
    if (atMs !== undefined && this.clock.monotonicMs() - atMs < VERDICT_HOLDS_MS) return 'unproven';
    const call = this.calls.get(id) ?? new SharedCall<HolderVerdict>();
    this.calls.set(id, call);
    try {
      const verdict = await call.join((shared) => this.prove(address, instance, shared), signal);
      this.remember(id, verdict);
      return verdict;
    } finally {
      this.calls.delete(id);
    }
  }

  private async prove(address: string, instance: string, signal: AbortSignal): Promise<HolderVerdict> {
    let found = await this.probe(address, signal);
    if (found === 'refused') {
      await this.clock.sleep(SECOND_PROBE_AFTER_MS, signal);
      found = await this.probe(address, signal);
      if (found === 'refused') return 'gone';
    }
    if (found === 'unlisted') return 'unlisted';
    return found !== 'silent' && found.instance !== instance ? 'gone' : 'unproven';
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

  private remember(id: string, verdict: HolderVerdict): void {
    const nowMs = this.clock.monotonicMs();
    for (const [other, atMs] of this.unproven)
      if (nowMs - atMs >= VERDICT_HOLDS_MS) this.unproven.delete(other);
    if (verdict === 'unproven') this.unproven.set(id, nowMs);
  }
}
