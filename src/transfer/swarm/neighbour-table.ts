import { ChunkMap } from '../../domain/chunk-map.js';
import type { Digest } from '../../domain/digest.js';
import type { BlobAvailability } from '../../peers/availability.js';
import { MEMBER_MS } from '../../peers/swarm/swarm-members.js';
import { Neighbour, type NeighbourBlob } from './neighbour.js';
import type { Neighbour as NeighbourView } from './swarm-view.js';

/** A node asks at most this many others about one image, however large the cluster is. */
export const MAX_NEIGHBOURS = 16;
/** Between two polls of one neighbour, milliseconds, at random within: more often costs more than it tells. */
const POLL_MS = { min: 300, max: 700 };
/** Of one that has all there is: only its swarm can still change. */
const COMPLETE_POLL_MS = { min: 1000, max: 1500 };
/** Of a source in whose swarm this node is not: seldom enough not to be counted in. */
const OUTSIDER_POLL_MS = { min: MEMBER_MS + 1000, max: MEMBER_MS + 3000 };
/** A neighbour that has had nothing new for this long makes room for another, where there are others. */
const USELESS_MS = 4000;
/** Slower than the median of the others by this factor is slow. */
const SLOW_FACTOR = 5;
const FAILURE_PAUSE_MS = { initial: 1000, max: 30_000 };

/** Of a peer, what the table must know. */
export interface TablePeer {
  readonly node: string;
  readonly instance: string;
}

export interface Following<P> {
  /** Instance of the one to be asked before all others: the lock holder. */
  readonly preferred?: string | undefined;
  /** Known to move the same blobs. */
  readonly participants?: readonly P[];
  /** What this node has: a neighbour that has more of it is kept. */
  readonly mine?: ReadonlyMap<Digest, ChunkMap>;
}

/** The peers that this node asks about one image: at most 16, what they have, how fast and how reliable they are. */
export class NeighbourTable<P extends TablePeer> {
  private readonly neighbours = new Map<string, Neighbour<P>>();

  constructor(
    private readonly self: string,
    private readonly random: () => number = Math.random,
  ) {}

  get size(): number {
    return this.neighbours.size;
  }

  /** When any neighbour last had something new, on the monotonic clock. */
  get newsMs(): number {
    return Math.max(-Infinity, ...[...this.neighbours.values()].map(({ newsMs }) => newsMs));
  }

  /**
   * Follows who is there. Everyone of a small cluster is a neighbour; of a large one `preferred` (the lock holder) and
   * others at random, `participants` first, since they are known to move the same blobs.
   */
  follow(
    peers: readonly P[],
    nowMs: number,
    { preferred, participants = [], mine = new Map() }: Following<P> = {},
  ): void {
    const there = new Map(peers.map((peer) => [peer.instance, peer]));
    for (const instance of this.neighbours.keys()) if (!there.has(instance)) this.neighbours.delete(instance);
    if (peers.length > MAX_NEIGHBOURS) this.dropUseless(mine, nowMs);
    const wanted = [...(preferred === undefined ? [] : [there.get(preferred)]), ...participants];
    for (const peer of wanted) if (peer && there.has(peer.instance)) this.add(peer, nowMs);
    const others = peers.filter(({ instance }) => !this.neighbours.has(instance));
    while (this.neighbours.size < MAX_NEIGHBOURS && others.length > 0) {
      const [chosen] = others.splice(Math.floor(this.random() * others.length), 1);
      if (chosen) this.add(chosen, nowMs);
    }
  }

  /** Those to be asked now; each is not due again until it was `answered` or has `failed`. */
  takeDue(nowMs: number): Neighbour<P>[] {
    const due = [...this.neighbours.values()].filter(
      ({ polling, nextPollMs, blockedUntilMs }) => !polling && nextPollMs <= nowMs && blockedUntilMs <= nowMs,
    );
    for (const neighbour of due) neighbour.polling = true;
    return due;
  }

  /** When the next one is due, on the monotonic clock; undefined when all are being asked. */
  nextDueMs(): number | undefined {
    const times = [...this.neighbours.values()]
      .filter(({ polling }) => !polling)
      .map(({ nextPollMs, blockedUntilMs }) => Math.max(nextPollMs, blockedUntilMs));
    return times.length === 0 ? undefined : Math.min(...times);
  }

  /** @param sizes of the blobs asked about: an answer that names another size is no answer */
  answered(
    instance: string,
    answers: ReadonlyMap<Digest, BlobAvailability>,
    sizes: ReadonlyMap<Digest, number>,
    nowMs: number,
  ): void {
    const neighbour = this.neighbours.get(instance);
    if (!neighbour) return;
    neighbour.polling = false;
    neighbour.met = true;
    neighbour.failures = 0;
    let isOutsider = false;
    let isComplete = answers.size > 0;
    for (const [digest, size] of sizes) {
      const answer = answers.get(digest);
      const fits = answer?.size === size || (answer?.size === 0 && answer.origin !== undefined);
      if (!fits || !neighbour.isBelieved(digest)) {
        neighbour.blobs.delete(digest);
        isComplete = false;
        continue;
      }
      const blob = neighbour.blobOf(digest, size);
      if (
        blob.update(
          answer.size === size ? answer : { ...answer, size, chunks: new ChunkMap(blob.chunks.length) },
          nowMs,
        )
      )
        neighbour.newsMs = nowMs;
      isComplete &&= answer.complete;
      isOutsider ||=
        blob.isSource &&
        answer.swarm !== undefined &&
        answer.swarm.length > 0 &&
        !answer.swarm.includes(this.self);
    }
    const pause = isOutsider ? OUTSIDER_POLL_MS : isComplete ? COMPLETE_POLL_MS : POLL_MS;
    neighbour.nextPollMs = nowMs + pause.min + this.random() * (pause.max - pause.min);
  }

  /** It did not answer, or a chunk from it failed: it is left alone for a while, longer each time. */
  failed(instance: string, nowMs: number): void {
    const neighbour = this.neighbours.get(instance);
    if (!neighbour) return;
    neighbour.polling = false;
    neighbour.met = true;
    const pauseMs = Math.min(FAILURE_PAUSE_MS.max, FAILURE_PAUSE_MS.initial * 2 ** neighbour.failures);
    neighbour.failures += 1;
    neighbour.blockedUntilMs = nowMs + pauseMs;
  }

  /** Nobody waits for its answer any more. */
  abandoned(instance: string): void {
    const neighbour = this.neighbours.get(instance);
    if (neighbour) neighbour.polling = false;
  }

  /** A new attempt: what was heard in an earlier one may be out of date, so everyone is asked at once. */
  renew(nowMs: number): void {
    for (const neighbour of this.neighbours.values()) {
      // One that is left alone is not waited for: a dead one would hold up the next holder.
      neighbour.met = neighbour.blockedUntilMs > nowMs;
      neighbour.nextPollMs = nowMs;
    }
  }

  /** Whether everyone has answered, or failed to, in this attempt. */
  get isMet(): boolean {
    return [...this.neighbours.values()].every(({ met }) => met);
  }

  /** It serves as many as it can: no failure of its. */
  full(instance: string, untilMs: number): void {
    const neighbour = this.neighbours.get(instance);
    if (neighbour) neighbour.busyUntilMs = untilMs;
  }

  remove(instance: string): void {
    this.neighbours.delete(instance);
  }

  get(instance: string): Neighbour<P> | undefined {
    return this.neighbours.get(instance);
  }

  /** Those who have something of a blob, or are reading it. @param maxFailures in a row, after which one does not count */
  holders(digest: Digest, maxFailures: number): { readonly peer: P; readonly blob: NeighbourBlob }[] {
    return [...this.neighbours.values()].flatMap(({ peer, blobs, failures }) => {
      const blob = blobs.get(digest);
      return blob && failures < maxFailures ? [{ peer, blob }] : [];
    });
  }

  /** As the scheduler sees them. */
  views(nowMs: number): NeighbourView[] {
    const all = [...this.neighbours.values()];
    const rates = all.flatMap(({ rate }) => (rate > 0 ? [rate] : [])).sort((left, right) => left - right);
    const median = rates[Math.floor(rates.length / 2)] ?? 0;
    return all.map(({ peer, blobs, blockedUntilMs, busyUntilMs, rate }) => ({
      id: peer.instance,
      isReachable: blockedUntilMs <= nowMs,
      mayBeAsked: busyUntilMs <= nowMs,
      isSlow: rate > 0 && rate * SLOW_FACTOR < median,
      rate: rate > 0 ? rate : undefined,
      holdings: blobs,
    }));
  }

  /** Makes a neighbour of `peer`, where there is room. */
  add(peer: P, nowMs: number): void {
    if (this.neighbours.has(peer.instance)) return;
    if (this.neighbours.size >= MAX_NEIGHBOURS) return;
    this.neighbours.set(peer.instance, new Neighbour(peer, nowMs));
  }

  private dropUseless(mine: ReadonlyMap<Digest, ChunkMap>, nowMs: number): void {
    for (const [instance, { newsMs, blobs }] of this.neighbours) {
      const hasMore = [...blobs].some(([digest, { chunks }]) => {
        const own = mine.get(digest);
        return own !== undefined && chunks.hasMoreThan(own);
      });
      if (!hasMore && nowMs - newsMs > USELESS_MS) this.neighbours.delete(instance);
    }
  }
}
