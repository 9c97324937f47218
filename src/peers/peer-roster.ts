import { backoffMs } from '../common/backoff.js';
import type { HostPort } from '../config/app-config.js';
import { canonicalAddress, formatAddress } from './peer-address.js';
import type { Peer, PeerIdentity } from './peer-identity.js';

const BACKOFF = { initialMs: 1_000, maxMs: 60_000 };

interface Entry {
  readonly address: HostPort;
  /** What it said last. */
  identity?: PeerIdentity;
  /** It has answered since it last failed to. */
  met: boolean;
  /** In a row. */
  failures: number;
  /** Not asked again before this. */
  retryAtMs: number;
}

export interface PeerSetback {
  readonly gone: boolean;
  readonly retryAfterMs?: number | undefined;
}

/** Who is at which address, and who is left alone for a while. Pure bookkeeping: times come from the caller. */
export class PeerRoster {
  private entries = new Map<string, Entry>();

  constructor(private readonly selfInstance: string) {}

  /** Takes over what discovery found: what was known of addresses that are still there stays. */
  setAddresses(addresses: readonly HostPort[]): void {
    const next = new Map<string, Entry>();
    for (const address of addresses) {
      const key = formatAddress(address);
      next.set(key, this.entries.get(key) ?? { address, met: false, failures: 0, retryAtMs: -Infinity });
    }
    this.entries = next;
  }

  /** Whether discovery lists this address. */
  lists(address: HostPort): boolean {
    return this.entries.has(keyOf(address));
  }

  addresses(): HostPort[] {
    return [...this.entries.values()].map(({ address }) => address);
  }

  /** Addresses that nobody has answered from (since the last failure), and that may be asked now. */
  unmet(nowMs: number): HostPort[] {
    return [...this.entries.values()]
      .filter(({ met, retryAtMs }) => !met && retryAtMs <= nowMs)
      .map(({ address }) => address);
  }

  /** Addresses at `ip` that nobody has answered from, whether it is their turn or not. */
  unmetAt(ip: string): HostPort[] {
    return [...this.entries.values()]
      .filter(({ met, address }) => !met && address.host === ip)
      .map(({ address }) => address);
  }

  /** When the next address may be asked who is there; undefined when all have answered. */
  nextAttemptMs(): number | undefined {
    const times = [...this.entries.values()].filter(({ met }) => !met).map(({ retryAtMs }) => retryAtMs);
    return times.length === 0 ? undefined : Math.min(...times);
  }

  /** It answered, and said who it is. */
  answered(address: HostPort, identity: PeerIdentity): void {
    const entry = this.entries.get(keyOf(address));
    if (!entry) return;
    entry.identity = identity;
    entry.met = true;
    entry.failures = 0;
    entry.retryAtMs = -Infinity;
  }

  /**
   * It failed: it is skipped for a while that doubles with each failure, or as long as it asked for.
   * @param gone it could not be reached or could not prove itself: it is no peer until it has answered again
   */
  failed(address: HostPort, nowMs: number, { gone, retryAfterMs = 0 }: PeerSetback): void {
    const entry = this.entries.get(keyOf(address));
    if (!entry) return;
    if (gone) entry.met = false;
    entry.failures += 1;
    entry.retryAtMs = nowMs + Math.max(retryAfterMs, backoffMs(entry.failures, BACKOFF));
  }

  /** Everyone who answers and is not skipped, without ourselves, each instance at one of its addresses. */
  peers(nowMs: number): Peer[] {
    const byInstance = new Map<string, Peer>();
    for (const { address, identity, met, retryAtMs } of this.entries.values()) {
      if (!met || !identity || identity.instance === this.selfInstance || retryAtMs > nowMs) continue;
      if (!byInstance.has(identity.instance)) byInstance.set(identity.instance, { ...identity, address });
    }
    return [...byInstance.values()];
  }

  /** Names of all other nodes that ever said who they are, skipped ones too. */
  nodes(): Set<string> {
    const identities = [...this.entries.values()].flatMap(({ identity }) => identity ?? []);
    return new Set(
      identities.filter(({ instance }) => instance !== this.selfInstance).map(({ node }) => node),
    );
  }
}

function keyOf(address: HostPort): string {
  return formatAddress(canonicalAddress(address));
}
