import { Inject, Injectable, Logger, type OnModuleDestroy } from '@nestjs/common';
import PQueue from 'p-queue';

import { abandonable } from '../common/abandonable.js';
import { Clock } from '../common/clock.js';
import type { HostPort } from '../config/app-config.js';
import { messageOf } from '../domain/errors.js';
import { PreheatMetrics } from '../metrics/preheat-metrics.js';
import { AgentIdentity } from './agent-identity.js';
import { OutgoingSessions } from './client/outgoing-sessions.js';
import { formatAddress, uniqueAddresses } from './peer-address.js';
import { PeerDiscovery } from './peer-discovery.js';
import { PeerError } from './peer-error.js';
import type { Peer } from './peer-identity.js';
import { PeerRoster } from './peer-roster.js';

/** Handshakes at once: a thousand peers are met within seconds, without a storm. */
const MEET_CONCURRENCY = 32;

/** Keeps the list of peers: discovery gives addresses, handshakes say who is there, failures send them away for a while. */
@Injectable()
export class PeerDirectory implements OnModuleDestroy {
  private readonly logger = new Logger(PeerDirectory.name);
  private readonly roster: PeerRoster;
  private readonly stopping = new AbortController();
  /** By address: those who have called this agent are being asked who they are. */
  private readonly greetings = new Map<string, Promise<void>>();
  private refreshing: Promise<void> | undefined;
  private discovered = false;
  private failing = false;

  constructor(
    @Inject(PeerDiscovery) private readonly discovery: PeerDiscovery,
    private readonly sessions: OutgoingSessions,
    private readonly metrics: PreheatMetrics,
    @Inject(Clock) private readonly clock: Clock,
    identity: AgentIdentity,
  ) {
    this.roster = new PeerRoster(identity.instance);
  }

  /** A discovery has succeeded in this process, and every address it gave was asked once. */
  get discoveredOnce(): boolean {
    return this.discovered;
  }

  peers(): readonly Peer[] {
    return this.roster.peers(this.clock.monotonicMs());
  }

  /** Whether discovery lists this address. */
  lists(address: HostPort): boolean {
    return this.roster.lists(address);
  }

  /** When `meetNew` has something to do, on the monotonic clock; undefined when everyone was met. */
  nextAttemptMs(): number | undefined {
    return this.roster.nextAttemptMs();
  }

  /**
   * Looks for addresses and meets those who are new. A look-up that fails keeps the last list, and is logged.
   * Callers at the same time share one round. Rejects only when the signal aborts.
   */
  async refresh(signal: AbortSignal): Promise<void> {
    this.refreshing ??= this.round(this.stopping.signal).finally(() => (this.refreshing = undefined));
    await abandonable(this.refreshing, signal);
  }

  /** Asks everyone who has not said yet who it is, and whose turn it is. Rejects only when the signal aborts. */
  async meetNew(signal: AbortSignal): Promise<void> {
    const queue = new PQueue({ concurrency: MEET_CONCURRENCY });
    const addresses = this.roster.unmet(this.clock.monotonicMs());
    await queue.addAll(addresses.map((address) => () => this.meet(address, signal)));
    this.metrics.peers(this.peers().length);
  }

  /** An agent at `ip` has called: one that did not answer before does now, and is met before its turn. */
  calledFrom(ip: string): void {
    for (const address of this.roster.unmetAt(ip)) {
      const key = formatAddress(address);
      if (this.greetings.has(key)) continue;
      const greeting = this.meet(address, this.stopping.signal)
        .catch(() => undefined)
        .finally(() => this.greetings.delete(key));
      this.greetings.set(key, greeting);
    }
  }

  /** Resolves when everyone who has called so far was met, or could not be. Rejects only when the signal aborts. */
  async greeted(signal: AbortSignal): Promise<void> {
    await abandonable(Promise.all(this.greetings.values()), signal);
  }

  /** It answered a call. */
  answered(address: HostPort): void {
    const identity = this.sessions.identityAt(address);
    if (identity) this.roster.answered(address, identity);
  }

  /** It failed: it is left alone for a while. Not having what it was asked for is no failure. */
  failed(address: HostPort, error: unknown): void {
    const isPeerError = error instanceof PeerError;
    if (isPeerError && error.isNotFound) return;
    const gone = isPeerError && ['network', 'timeout', 'auth'].includes(error.kind);
    if (gone) this.sessions.forget(address);
    this.roster.failed(address, this.clock.monotonicMs(), {
      gone,
      retryAfterMs: isPeerError ? error.retryAfterMs : undefined,
    });
  }

  onModuleDestroy(): void {
    this.stopping.abort();
  }

  private async round(signal: AbortSignal): Promise<void> {
    const found = await this.discover(signal);
    if (found) {
      const before = this.roster.nodes();
      this.roster.setAddresses(found);
      this.sessions.retain(found);
      const after = this.roster.nodes();
      for (const node of before) if (!after.has(node)) this.metrics.forgetPeer(node);
    }
    await this.meetNew(signal);
    if (found) this.discovered = true;
  }

  private async discover(signal: AbortSignal): Promise<readonly HostPort[] | undefined> {
    try {
      const found = uniqueAddresses(await this.discovery.list(signal));
      if (this.failing) this.logger.log({ addresses: found.length }, 'Peers can be looked up again');
      this.failing = false;
      return found;
    } catch (error) {
      signal.throwIfAborted();
      if (!this.failing)
        this.logger.warn({ error: messageOf(error) }, 'Peers cannot be looked up: the last list stays');
      this.failing = true;
      return undefined;
    }
  }

  private async meet(address: HostPort, signal: AbortSignal): Promise<void> {
    try {
      const { identity } = await this.sessions.with(address, signal);
      this.roster.answered(address, identity);
    } catch (error) {
      signal.throwIfAborted();
      this.logger.debug({ host: address.host, port: address.port, error: messageOf(error) }, 'No peer there');
      this.failed(address, error);
    }
  }
}
