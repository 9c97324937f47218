import type { ChunkMap } from '../../domain/chunk-map.js';
import type { Digest } from '../../domain/digest.js';

/** What one neighbour has of one blob. */
export interface Holding {
  readonly chunks: ChunkMap;
  /** It has the whole blob, or reads it from the registry: its uplink is what everybody waits for. */
  readonly isSource: boolean;
  /**
   * The nodes among which it shares out the blob's chunks: `swarm[index mod length]` fetches chunk `index` from it.
   * Undefined from an agent that does not say: then everybody may.
   */
  readonly swarm?: readonly string[];
  /** It still reads the blob from the registry: there will be more that only it has. */
  readonly isOrigin: boolean;
  /** Chunks that it has sent to somebody, who hands them on. Undefined from an agent that does not say. */
  readonly sent?: ChunkMap;
  /** When this node saw chunk `index` there first, on the monotonic clock; asked only of sources. */
  readonly seenAtMs: (index: number) => number;
}

export interface Neighbour {
  /** Unique; its instance. */
  readonly id: string;
  /** False while it is left alone after a failure: what it has counts for nothing then. */
  readonly isReachable: boolean;
  /** False also while it serves as many as it can. */
  readonly mayBeAsked: boolean;
  /** So much slower than the others that it is asked only for what nobody else has. */
  readonly isSlow: boolean;
  /** How fast chunks came from it of late, bytes per millisecond; undefined while none has. */
  readonly rate: number | undefined;
  readonly holdings: ReadonlyMap<Digest, Holding>;
}

/** One blob that this node is after. */
export interface WantedChunks {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  /** Verified here. */
  readonly mine: ChunkMap;
  /** Whether chunk `index` comes from elsewhere, such as the registry, and is not to be asked of peers. */
  readonly isReserved: (index: number) => boolean;
}

export interface ChunkRequest {
  readonly digest: Digest;
  readonly index: number;
  /** The neighbour's `id`. */
  readonly peer: string;
  /** From the source, as the chunk's owner. */
  readonly isOwned: boolean;
}

export interface ChunkInFlight extends ChunkRequest {
  readonly startedMs: number;
}

export interface SwarmView {
  /** This node's name, as it stands in `Holding.swarm`. */
  readonly self: string;
  readonly wanted: readonly WantedChunks[];
  readonly neighbours: readonly Neighbour[];
  readonly inFlight: readonly ChunkInFlight[];
  /** Since when this node has fetched nothing that it owns, on the monotonic clock; undefined while it does. */
  readonly idleSinceMs: number | undefined;
  /** When a neighbour last had a chunk that it had not before, on the monotonic clock. */
  readonly newsMs: number;
  /** What a chunk takes usually, in milliseconds; 0 while nothing is known. */
  readonly usualMs: number;
}
