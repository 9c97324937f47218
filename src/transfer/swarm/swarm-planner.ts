import { planRequests } from './chunk-scheduler.js';
import type { NeighbourTable, TablePeer } from './neighbour-table.js';
import type { ChunkInFlight, ChunkRequest, WantedChunks } from './swarm-view.js';

/**
 * Keeps the books that the scheduler's view is made of: what is in flight, since when there is nothing to do, how long
 * a chunk takes. No input or output of its own: the agent and the simulator drive the same one.
 */
export class SwarmPlanner<P extends TablePeer> {
  private readonly flying = new Set<ChunkInFlight>();
  private idleSinceMs: number | undefined;
  private usualMs = 0;

  constructor(
    private readonly self: string,
    private readonly table: NeighbourTable<P>,
    private readonly random: () => number = Math.random,
  ) {}

  get inFlight(): ReadonlySet<ChunkInFlight> {
    return this.flying;
  }

  /** Requests to be sent now; each counts as in flight until it has `ended`. */
  start(wanted: readonly WantedChunks[], nowMs: number): ChunkInFlight[] {
    const view = {
      self: this.self,
      wanted,
      neighbours: this.table.views(nowMs),
      inFlight: [...this.flying],
      idleSinceMs: this.idleSinceMs,
      newsMs: this.table.newsMs,
      usualMs: this.usualMs,
    };
    const started = planRequests(view, nowMs, this.random).map((request: ChunkRequest) => ({
      ...request,
      startedMs: nowMs,
    }));
    for (const request of started) this.flying.add(request);
    const isOwner = [...this.flying].some(({ isOwned }) => isOwned);
    this.idleSinceMs = isOwner ? undefined : (this.idleSinceMs ?? nowMs);
    return started;
  }

  /** @param bytes that it brought; 0 when it failed or was given up */
  ended(request: ChunkInFlight, bytes: number, nowMs: number): void {
    this.flying.delete(request);
    if (bytes === 0) return;
    const durationMs = nowMs - request.startedMs;
    this.usualMs = this.usualMs === 0 ? durationMs : 0.8 * this.usualMs + 0.2 * durationMs;
    this.table.get(request.peer)?.delivered(request.digest, bytes, durationMs);
  }
}
