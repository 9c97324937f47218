import type { ChunkMap } from '../domain/chunk-map.js';
import type { Digest } from '../domain/digest.js';
import type { PeerIdentity } from './peer-identity.js';

/** What one node has of one blob. */
export interface BlobAvailability {
  /** Bytes of the whole blob. */
  readonly size: number;
  readonly complete: boolean;
  /** Verified chunks of a blob that is not complete. */
  readonly chunks?: ChunkMap;
  /** SHA-256 of each chunk, hex, empty where unknown. Facts from a node with the whole blob, claims from others. */
  readonly chunkHashes?: readonly string[];
  /** The node is a lock holder that is about to read (`claimed`) or reads (`reading`) this blob from the registry; `key` is its record's. */
  readonly origin?: { readonly state: 'claimed' | 'reading'; readonly key: string };
  /** Nodes among which the blob's source shares out its chunks. */
  readonly swarm?: readonly string[];
  /** Chunks that the blob's source has sent to somebody already: they are on their way from node to node. */
  readonly sent?: ChunkMap;
  /** A manifest made here around the same config stands for this digest: good for classic Docker receivers. */
  readonly derived?: { readonly digest: Digest; readonly size: number };
}

/** A node's answer to a question about blobs; what it has nothing of, or more than was asked about, is not in `blobs`. */
export interface AvailabilityAnswer extends PeerIdentity {
  readonly blobs: ReadonlyMap<Digest, BlobAvailability>;
  /** Addresses (`ip:port`) of some nodes that move these blobs, too. */
  readonly participants: readonly string[];
}

/** A blob that is asked about. */
export interface AskedBlob {
  readonly digest: Digest;
  /** Its bytes, or the most that it can have: how long an answer may be depends on it. */
  readonly size: number;
}

/** What is asked about blobs. */
export interface AvailabilityQuestion {
  /** That they belong to, a normalised reference. */
  readonly image?: string;
  readonly blobs: readonly AskedBlob[];
  /** Per blob, the chunks whose hashes the peer has told before: it need not tell them again. */
  readonly known?: ReadonlyMap<Digest, ChunkMap>;
}
