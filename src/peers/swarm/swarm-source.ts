import { Inject, Injectable } from '@nestjs/common';

import { Clock } from '../../common/clock.js';
import { chunkCountOf, ChunkMap } from '../../domain/chunk-map.js';
import type { Digest } from '../../domain/digest.js';
import type { Caller } from '../access/caller.js';
import { SwarmMembers } from './swarm-members.js';

/**
 * Chunks that are sent to peers at a time. Whoever comes beyond that is told so at once, and asks another: a queue here
 * would have everybody wait for the one who got a rare chunk first, while those who have it next are idle.
 */
export const CHUNK_PLACES = 6;
/** Of these, as many may go to nodes that fetch from a source what others own. */
const HELPER_PLACES = 3;
/** Blobs whose chunks came from peers are remembered up to this many. */
const MAX_RELAYED = 4096;

export interface ChunkGrantQuestion {
  readonly digest: Digest;
  /** Bytes of the blob. */
  readonly size: number;
  readonly index: number;
  readonly caller: Caller;
}

/** What was sent of one blob. */
interface Sendings {
  /** Sent to somebody, or on its way. */
  readonly begun: ChunkMap;
  /** Sent to somebody in full. */
  readonly done: ChunkMap;
}

/** Shares out what this node sends: who is in a blob's swarm, which of its chunks are on their way, and who may have one now. */
@Injectable()
export class SwarmSource {
  private readonly members = new SwarmMembers();
  private readonly sent = new Map<Digest, Sendings>();
  private readonly relayed = new Set<Digest>();
  private places = 0;

  constructor(@Inject(Clock) private readonly clock: Clock) {}

  /** `caller` is after `digest`, of which there is something here. */
  note(digest: Digest, caller: Caller): void {
    this.members.note(digest, caller, this.clock.monotonicMs());
  }

  /** Node names; chunk `index` is for `swarm[index mod length]`. */
  swarmOf(digest: Digest): readonly string[] {
    return this.members.swarmOf(digest, this.clock.monotonicMs());
  }

  /** Instances of those who asked for any of `digests` lately. */
  askers(digests: readonly Digest[]): ReadonlySet<string> {
    return this.members.instances(digests, this.clock.monotonicMs());
  }

  /** Chunks that were sent to somebody, or are being sent. */
  sentOf(digest: Digest): ChunkMap | undefined {
    return this.sent.get(digest)?.begun;
  }

  /** The blob comes from peers: this node is none of those whose uplink everybody waits for. */
  relays(digest: Digest): void {
    this.relayed.delete(digest);
    this.relayed.add(digest);
    const [oldest] = this.relayed;
    if (oldest && this.relayed.size > MAX_RELAYED) this.relayed.delete(oldest);
  }

  /** @returns what ends the sending, and is told whether all was sent; undefined when there is no place for it now */
  tryGrant({ digest, size, index, caller }: ChunkGrantQuestion): ((done: boolean) => void) | undefined {
    const swarm = this.swarmOf(digest);
    const isOwner = swarm.length === 0 || swarm[index % swarm.length] === caller.node;
    const places = isOwner || this.relayed.has(digest) ? CHUNK_PLACES : HELPER_PLACES;
    if (this.places >= places) return undefined;
    this.places += 1;
    this.forgetUnwanted();
    const count = chunkCountOf(size);
    const { begun, done } = this.sent.get(digest) ?? {
      begun: new ChunkMap(count),
      done: new ChunkMap(count),
    };
    this.sent.set(digest, { begun, done });
    begun.add(index);
    return (isDone) => {
      this.places -= 1;
      if (isDone) done.add(index);
      // A second one that was sent it may still be waiting for its end.
      if (done.has(index)) begun.add(index);
      else begun.delete(index);
    };
  }

  /** What nobody asks for any more begins anew when somebody does. */
  private forgetUnwanted(): void {
    for (const digest of this.sent.keys()) if (this.swarmOf(digest).length === 0) this.sent.delete(digest);
  }
}
