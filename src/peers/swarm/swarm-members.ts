import type { Digest } from '../../domain/digest.js';

/** Whoever has not asked for this long is no member any more. */
export const MEMBER_MS = 5000;
const MAX_MEMBERS = 32;
/** Askers that are remembered per blob beside the members, to be named as participants. */
const MAX_ASKERS = 256;

interface Asker {
  readonly node: string;
  readonly instance: string;
  askedMs: number;
}

/**
 * Who asks this node for which blob. Of those, up to 32 are the blob's swarm: the nodes among which this one shares out
 * its chunks. Who is in stays in while it asks, so that ownership changes seldom.
 */
export class SwarmMembers {
  private readonly askers = new Map<Digest, Map<string, Asker>>();

  /** @param nowMs on the monotonic clock */
  note(digest: Digest, { node, instance }: { node: string; instance: string }, nowMs: number): void {
    const askers = this.askers.get(digest) ?? new Map<string, Asker>();
    // The blob asked for last at the end: those that nobody asks for any more are at the beginning.
    this.askers.delete(digest);
    this.forgetUnwanted(nowMs);
    expire(askers, nowMs);
    const known = askers.get(instance);
    if (known) known.askedMs = nowMs;
    else if (askers.size < MAX_ASKERS) askers.set(instance, { node, instance, askedMs: nowMs });
    this.askers.set(digest, askers);
  }

  /**
   * Names of the blob's swarm; chunk `index` is for `swarm[index mod length]`. The list begins elsewhere for each blob,
   * so that the first chunks of many small blobs have different owners.
   */
  swarmOf(digest: Digest, nowMs: number): readonly string[] {
    const members = this.alive(digest, nowMs)
      .slice(0, MAX_MEMBERS)
      .map(({ node }) => node);
    const turn = members.length === 0 ? 0 : Number.parseInt(digest.slice(-6), 16) % members.length;
    return [...members.slice(turn), ...members.slice(0, turn)];
  }

  /** Instances of nodes that asked for any of `digests` lately. */
  instances(digests: readonly Digest[], nowMs: number): ReadonlySet<string> {
    return new Set(digests.flatMap((digest) => this.alive(digest, nowMs).map(({ instance }) => instance)));
  }

  private alive(digest: Digest, nowMs: number): Asker[] {
    const askers = this.askers.get(digest);
    if (!askers) return [];
    expire(askers, nowMs);
    return [...askers.values()];
  }

  private forgetUnwanted(nowMs: number): void {
    for (const [digest, askers] of this.askers) {
      expire(askers, nowMs);
      if (askers.size > 0) return;
      this.askers.delete(digest);
    }
  }
}

function expire(askers: Map<string, Asker>, nowMs: number): void {
  for (const { instance, askedMs } of askers.values())
    if (nowMs - askedMs > MEMBER_MS) askers.delete(instance);
}
