import { Inject, Injectable } from '@nestjs/common';

import { abandonable } from '../../common/abandonable.js';
import { Clock } from '../../common/clock.js';
import type { HostPort } from '../../config/app-config.js';
import { AgentIdentity } from '../agent-identity.js';
import { formatAddress } from '../peer-address.js';
import type { PeerIdentity } from '../peer-identity.js';
import { SESSION_LIFETIME_MS } from '../session/session-wire.js';
import { OutgoingSession } from './outgoing-session.js';
import { PeerHandshake } from './peer-handshake.js';

/** Renewed before the callee forgets it. */
const RENEW_AFTER_MS = SESSION_LIFETIME_MS - 60_000;

interface Entry {
  readonly opening: Promise<OutgoingSession>;
  session?: OutgoingSession;
}

/** The sessions that this agent has with others, by address. Concurrent callers of one address share its handshake. */
@Injectable()
export class OutgoingSessions {
  private readonly entries = new Map<string, Entry>();

  constructor(
    private readonly handshake: PeerHandshake,
    private readonly self: AgentIdentity,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  /** The session with whoever is at `address`, made now if there is none. Throws what `PeerHandshake.meet` throws. */
  async with(address: HostPort, signal: AbortSignal): Promise<OutgoingSession> {
    const key = formatAddress(address);
    const known = this.entries.get(key);
    if (known?.session && known.session.renewAtMs <= this.clock.monotonicMs()) this.entries.delete(key);
    const { opening } = this.entries.get(key) ?? this.open(key, address);
    return abandonable(opening, signal);
  }

  /** Forgets `session`, unless another one is in its place already. */
  drop(address: HostPort, session: OutgoingSession): void {
    const key = formatAddress(address);
    if (this.entries.get(key)?.session === session) this.entries.delete(key);
  }

  /** Who answered there last, when a session is at hand. */
  identityAt(address: HostPort): PeerIdentity | undefined {
    return this.entries.get(formatAddress(address))?.session?.identity;
  }

  /** Forgets the session with whoever is at `address`: the next call begins with a handshake. */
  forget(address: HostPort): void {
    this.entries.delete(formatAddress(address));
  }

  /** Forgets the sessions with all addresses but these. */
  retain(addresses: readonly HostPort[]): void {
    const keys = new Set(addresses.map(formatAddress));
    for (const key of this.entries.keys()) if (!keys.has(key)) this.entries.delete(key);
  }

  /** One handshake, whoever waits for it: it has a time limit of its own and no caller's signal. */
  private open(key: string, address: HostPort): Entry {
    const entry: Entry = { opening: this.meet(address) };
    this.entries.set(key, entry);
    entry.opening.then(
      (session) => (entry.session = session),
      () => {
        if (this.entries.get(key) === entry) this.entries.delete(key);
      },
    );
    return entry;
  }

  private async meet(address: HostPort): Promise<OutgoingSession> {
    const { identity, keys } = await this.handshake.meet(address, new AbortController().signal);
    return new OutgoingSession(identity, this.self, keys, this.clock.monotonicMs() + RENEW_AFTER_MS);
  }
}
