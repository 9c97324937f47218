import { ChunkMap, chunkCountOf } from '../../domain/chunk-map.js';
import type { Digest } from '../../domain/digest.js';
import type { BlobAvailability } from '../../peers/availability.js';
import type { Holding } from './swarm-view.js';

/** What one neighbour has said of one blob, poll after poll. */
export class NeighbourBlob implements Holding {
  chunks: ChunkMap;
  isSource = false;
  isComplete = false;
  isOrigin = false;
  swarm?: readonly string[];
  sent?: ChunkMap;
  private readonly hashes: string[];
  private readonly seenMs: Float64Array;

  constructor(readonly size: number) {
    const count = chunkCountOf(size);
    this.chunks = new ChunkMap(count);
    this.hashes = Array.from({ length: count }, () => '');
    this.seenMs = new Float64Array(count);
  }

  /** When it was first known to have chunk `index`, on the monotonic clock. */
  readonly seenAtMs = (index: number): number => this.seenMs[index] ?? 0;

  /** What it says the SHA-256 of chunk `index` is, in hex; undefined when it has not said. */
  hashOf(index: number): string | undefined {
    return this.hashes[index] === '' ? undefined : this.hashes[index];
  }

  /** The chunks whose hash it has told. */
  get told(): ChunkMap {
    const told = new ChunkMap(this.hashes.length);
    for (const [index, hash] of this.hashes.entries()) if (hash !== '') told.add(index);
    return told;
  }

  /** Takes in a newer answer. @returns whether it has chunks that it did not have before */
  update(answer: BlobAvailability, nowMs: number): boolean {
    const { chunks: before, isComplete: wasComplete } = this;
    this.isComplete = answer.complete;
    this.isOrigin = !answer.complete && answer.origin !== undefined;
    this.isSource = answer.complete || this.isOrigin;
    if (answer.sent) this.sent = answer.sent;
    else delete this.sent;
    if (answer.swarm) this.swarm = answer.swarm;
    else delete this.swarm;
    this.chunks = answer.complete
      ? ChunkMap.full(before.length)
      : (answer.chunks ?? new ChunkMap(before.length));
    // What it has begun anew, or completed by now, may be other bytes than those that it claimed once.
    if (before.hasMoreThan(this.chunks) || (this.isComplete && !wasComplete)) this.hashes.fill('');
    for (const [index, hash] of answer.chunkHashes?.entries() ?? [])
      if (hash !== '') this.hashes[index] = hash;
    let news = false;
    for (let index = 0; index < before.length; index += 1) {
      if (before.has(index) || !this.chunks.has(index)) continue;
      this.seenMs[index] = nowMs;
      news = true;
    }
    return news;
  }
}

/** A neighbour that so often in a row had not what it said it had of a blob is not believed any more. */
const MAX_DENIALS = 3;

/** Speed of a neighbour and its standing, as this node has met it. */
export class Neighbour<P> {
  readonly blobs = new Map<Digest, NeighbourBlob>();
  /** Per blob, how often in a row it had not what it said it had. */
  private readonly denials = new Map<Digest, number>();
  /** Left alone until then, on the monotonic clock. */
  blockedUntilMs = -Infinity;
  /** Not asked for chunks until then: it said it serves as many as it can. */
  busyUntilMs = -Infinity;
  nextPollMs = -Infinity;
  /** When it last had something new. */
  newsMs: number;
  polling = false;
  failures = 0;
  /** It has answered, or failed to, at least once. */
  met = false;
  /** Bytes per millisecond, a moving average; 0 while nothing was fetched from it. */
  rate = 0;

  constructor(
    readonly peer: P,
    nowMs: number,
  ) {
    this.newsMs = nowMs;
  }

  /** It has not what it said it had: evicted, maybe, or never there. */
  denied(digest: Digest): void {
    this.blobs.delete(digest);
    this.denials.set(digest, (this.denials.get(digest) ?? 0) + 1);
  }

  /** Whether what it says of a blob counts. */
  isBelieved(digest: Digest): boolean {
    return (this.denials.get(digest) ?? 0) < MAX_DENIALS;
  }

  /** A chunk of `digest` came from it. */
  delivered(digest: Digest, bytes: number, durationMs: number): void {
    this.denials.delete(digest);
    const rate = bytes / Math.max(1, durationMs);
    this.rate = this.rate === 0 ? rate : 0.7 * this.rate + 0.3 * rate;
    this.failures = 0;
  }

  blobOf(digest: Digest, size: number): NeighbourBlob {
    const known = this.blobs.get(digest);
    if (known) return known;
    const blob = new NeighbourBlob(size);
    this.blobs.set(digest, blob);
    return blob;
  }
}
