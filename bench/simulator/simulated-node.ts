import type { Clock } from '../../src/common/clock.js';
import { ChunkMap, chunkCountOf } from '../../src/domain/chunk-map.js';
import type { Digest } from '../../src/domain/digest.js';
import type { BlobAvailability } from '../../src/peers/availability.js';
import { SwarmSource } from '../../src/peers/swarm/swarm-source.js';
import { NeighbourTable } from '../../src/transfer/swarm/neighbour-table.js';
import { SwarmPlanner } from '../../src/transfer/swarm/swarm-planner.js';
import type { ChunkInFlight, WantedChunks } from '../../src/transfer/swarm/swarm-view.js';
import type { LinkEnd } from './fluid-links.js';

export const DIGEST: Digest = `sha256:${'5'.repeat(64)}`;
const MAX_PARTICIPANTS = 16;

export interface SimulatedPeer {
  readonly node: string;
  readonly instance: string;
  readonly number: number;
}

/** One node of a simulation: what the agent itself decides with, and nothing of its input and output. */
export class SimulatedNode implements LinkEnd {
  readonly peer: SimulatedPeer;
  readonly table: NeighbourTable<SimulatedPeer>;
  readonly mine: ChunkMap;
  readonly source: SwarmSource;
  participants: readonly SimulatedPeer[] = [];
  sentBytes = 0;
  receivedBytes = 0;
  refused = 0;
  /** Availability questions since the counter was last set to 0. */
  questions = 0;
  doneMs: number | undefined;
  isDead = false;
  /** Something has happened since it last looked for what to ask. */
  isAwake = true;
  private readonly planner: SwarmPlanner<SimulatedPeer>;

  constructor(
    readonly number: number,
    readonly bytesPerMs: number,
    private readonly blobBytes: number,
    clock: Clock,
    private readonly random: () => number,
  ) {
    this.peer = { node: `node-${number}`, instance: `instance-${number}`, number };
    this.table = new NeighbourTable(this.peer.node, random);
    this.planner = new SwarmPlanner(this.peer.node, this.table, random);
    this.source = new SwarmSource(clock);
    this.mine = new ChunkMap(chunkCountOf(blobBytes));
  }

  get isReading(): boolean {
    return this.number === 0 && !this.mine.isFull;
  }

  /** What it tells `asker` of the blob, and who else is after it. */
  describe(
    asker: SimulatedPeer,
    peers: readonly SimulatedNode[],
  ): [BlobAvailability, readonly SimulatedPeer[]] {
    this.questions += 1;
    this.source.note(DIGEST, asker);
    const complete = this.mine.isFull;
    const sent = this.source.sentOf(DIGEST);
    const answer: BlobAvailability = {
      size: this.blobBytes,
      complete,
      ...(complete ? {} : { chunks: new ChunkMap(this.mine.length, this.mine.toBytes()) }),
      ...(this.isReading ? { origin: { state: 'reading', key: '' } } : {}),
      ...(complete || this.isReading ? { swarm: this.source.swarmOf(DIGEST) } : {}),
      ...(sent ? { sent: new ChunkMap(sent.length, sent.toBytes()) } : {}),
    };
    const askers = [...this.source.askers([DIGEST])].filter((instance) => instance !== asker.instance);
    const chosen = new Set<SimulatedPeer>();
    for (let draw = 0; draw < MAX_PARTICIPANTS && askers.length > 0; draw += 1) {
      const instance = askers[Math.floor(this.random() * askers.length)] ?? '';
      const peer = peers[Number(instance.slice('instance-'.length))]?.peer;
      if (peer) chosen.add(peer);
    }
    return [answer, [...chosen]];
  }

  plan(nowMs: number): ChunkInFlight[] {
    this.isAwake = false;
    const wanted: WantedChunks = {
      digest: DIGEST,
      size: this.blobBytes,
      mine: this.mine,
      isReserved: () => false,
    };
    return this.planner.start([wanted], nowMs);
  }

  /** @param bytes 0 when the request failed, was refused or given up */
  ended(request: ChunkInFlight, bytes: number, nowMs: number): void {
    this.isAwake = true;
    this.planner.ended(request, bytes, nowMs);
  }
}
