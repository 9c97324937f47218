import { type Clock, systemClock } from '../../src/common/clock.js';
import { chunkRange } from '../../src/domain/chunk-map.js';
import type { ChunkInFlight } from '../../src/transfer/swarm/swarm-view.js';
import { type Flow, shareLinks } from './fluid-links.js';
import { generator } from './random.js';
import { DIGEST, SimulatedNode } from './simulated-node.js';

export interface SimulationOptions {
  readonly nodes: number;
  readonly blobBytes: number;
  /** Of each node's link, each way. */
  readonly linkBytesPerSecond: number;
  /** A node, not the holder (0), whose link is so many times slower. */
  readonly slow?: { readonly node: number; readonly factor: number };
  /** A node that dies when the holder has read half of the blob. */
  readonly dying?: number;
  readonly seed: number;
}

export interface SimulationResult {
  /** Until the last node that is alive, and is not the slow one, has everything. */
  readonly seconds: number;
  /** What the holder sent, in parts of the blob. */
  readonly holderSent: number;
  /** Availability questions that a node other than the holder got in its busiest second. */
  readonly questionsPerSecond: number;
  readonly holderQuestionsPerSecond: number;
  /** Chunks that were asked for in vain, per chunk that came. */
  readonly refused: number;
}

const STEP_MS = 5;
const LATENCY_MS = 2;
/** As many ranges as a lock holder reads at a time. */
const REGISTRY_STREAMS = 4;
/** Peers come and go seldom: a node looks who is there this often. */
const FOLLOW_MS = 200;
const LOOK_MS = 100;
const GIVE_UP_MS = 3_600_000;
/** As in the agent: a peer without a place is asked again after 50 to 150 ms. */
const FULL_PAUSE_MS = { min: 50, max: 150 };

interface ChunkFlow extends Flow {
  readonly index: number;
  readonly from: SimulatedNode | undefined;
  readonly to: SimulatedNode;
  readonly request?: ChunkInFlight;
  readonly release?: (done: boolean) => void;
}

/**
 * Nodes on links of one width, one of which reads a blob from the registry; time goes in steps of 5 ms, and in each every
 * flow gets its fair share of both its links. Who asks whom for what is decided by the agent's own code.
 */
export class SwarmSimulator {
  private readonly nodes: SimulatedNode[];
  private readonly flows = new Set<ChunkFlow>();
  private readonly random: () => number;
  private nowMs = 0;
  private nextRead = 0;
  private busiest = 0;
  private busiestHolder = 0;

  constructor(private readonly options: SimulationOptions) {
    this.random = generator(options.seed);
    const clock: Clock = { ...systemClock, monotonicMs: () => this.nowMs };
    this.nodes = Array.from({ length: options.nodes }, (_, number) => {
      const factor = options.slow?.node === number ? options.slow.factor : 1;
      const bytesPerMs = options.linkBytesPerSecond / 1000 / factor;
      return new SimulatedNode(number, bytesPerMs, options.blobBytes, clock, this.random);
    });
  }

  run(): SimulationResult {
    const holder = this.nodes[0];
    if (!holder) throw new RangeError('a simulation needs nodes');
    const others = this.nodes.slice(1);
    const counted = others.filter(({ number }) => number !== this.options.slow?.node);
    const isDone = (): boolean => counted.every(({ isDead, doneMs }) => isDead || doneMs !== undefined);
    for (; !isDone() && this.nowMs < GIVE_UP_MS; this.nowMs += STEP_MS) {
      if (this.nowMs % 1000 === 0) this.countQuestions(holder);
      this.kill(holder);
      this.read(holder);
      const live = this.nowMs % FOLLOW_MS === 0 ? this.nodes.filter(({ isDead }) => !isDead) : undefined;
      for (const node of others) if (!node.isDead && node.doneMs === undefined) this.act(node, live);
      shareLinks(this.nodes, this.flows);
      for (const flow of this.flows) this.move(flow);
    }
    const asked = others.reduce((sum, { refused }) => sum + refused, 0);
    return {
      seconds: Math.max(...counted.map(({ isDead, doneMs = Infinity }) => (isDead ? 0 : doneMs))) / 1000,
      holderSent: holder.sentBytes / this.options.blobBytes,
      questionsPerSecond: this.busiest,
      holderQuestionsPerSecond: this.busiestHolder,
      refused: asked / (holder.mine.length * others.length),
    };
  }

  private countQuestions(holder: SimulatedNode): void {
    for (const node of this.nodes) {
      if (node === holder) this.busiestHolder = Math.max(this.busiestHolder, node.questions);
      else this.busiest = Math.max(this.busiest, node.questions);
      node.questions = 0;
    }
  }

  private kill(holder: SimulatedNode): void {
    const node = this.nodes[this.options.dying ?? -1];
    if (!node || node.isDead || holder.mine.size * 2 < holder.mine.length) return;
    node.isDead = true;
    for (const flow of this.flows) if (flow.from === node || flow.to === node) this.end(flow, 0);
  }

  private read(holder: SimulatedNode): void {
    let reading = 0;
    for (const { from } of this.flows) if (!from) reading += 1;
    for (; reading < REGISTRY_STREAMS && this.nextRead < holder.mine.length; reading += 1) {
      this.begin({ from: undefined, to: holder, index: this.nextRead });
      this.nextRead += 1;
    }
  }

  /** @param live set when it is time to look who is there */
  private act(node: SimulatedNode, live: readonly SimulatedNode[] | undefined): void {
    const { nowMs } = this;
    if (live) {
      const peers = live.filter((other) => other !== node).map(({ peer }) => peer);
      const preferred = nowMs < 1000 ? this.nodes[0]?.peer.instance : undefined;
      const { participants } = node;
      node.table.follow(peers, nowMs, { preferred, participants, mine: new Map([[DIGEST, node.mine]]) });
    }
    for (const { peer } of node.table.takeDue(nowMs)) this.ask(node, peer.number);
    if (node.isAwake || nowMs % LOOK_MS === 0)
      for (const request of node.plan(nowMs)) this.request(node, request);
  }

  private ask(node: SimulatedNode, number: number): void {
    const other = this.nodes[number];
    if (!other || other.isDead) {
      node.table.failed(`instance-${number}`, this.nowMs);
      return;
    }
    const [answer, participants] = other.describe(node.peer, this.nodes);
    const sizes = new Map([[DIGEST, this.options.blobBytes]]);
    node.table.answered(other.peer.instance, new Map([[DIGEST, answer]]), sizes, this.nowMs + LATENCY_MS);
    if (participants.length > 0) node.participants = participants;
    node.isAwake = true;
  }

  private request(node: SimulatedNode, request: ChunkInFlight): void {
    const from = this.nodes[node.table.get(request.peer)?.peer.number ?? -1];
    if (!from?.mine.has(request.index)) throw new Error(`asked ${request.peer} for what it lacks`);
    const question = {
      digest: DIGEST,
      size: this.options.blobBytes,
      index: request.index,
      caller: node.peer,
    };
    const release = from.isDead ? undefined : from.source.tryGrant(question);
    if (release) {
      this.begin({ from, to: node, index: request.index, request, release });
      return;
    }
    node.refused += 1;
    node.ended(request, 0, this.nowMs);
    const pauseMs = FULL_PAUSE_MS.min + this.random() * (FULL_PAUSE_MS.max - FULL_PAUSE_MS.min);
    node.table.full(request.peer, this.nowMs + pauseMs);
  }

  private begin(flow: Omit<ChunkFlow, 'leftBytes' | 'bytesPerMs'>): void {
    const { length } = chunkRange(this.options.blobBytes, flow.index);
    this.flows.add({ ...flow, leftBytes: length, bytesPerMs: 0 });
  }

  private move(flow: ChunkFlow): void {
    const { from, to, index } = flow;
    const bytes = Math.min(flow.leftBytes, flow.bytesPerMs * STEP_MS);
    flow.leftBytes -= bytes;
    to.receivedBytes += bytes;
    if (from) from.sentBytes += bytes;
    if (flow.leftBytes > 0.5) return;
    this.end(flow, chunkRange(this.options.blobBytes, index).length);
    if (from) to.source.relays(DIGEST);
    to.mine.add(index);
    if (to.mine.isFull) to.doneMs ??= this.nowMs + STEP_MS;
    // A second copy of it is given up.
    for (const other of this.flows) if (other.to === to && other.index === index) this.end(other, 0);
  }

  private end(flow: ChunkFlow, bytes: number): void {
    this.flows.delete(flow);
    flow.release?.(bytes > 0);
    if (flow.request) flow.to.ended(flow.request, bytes, this.nowMs + STEP_MS);
  }
}
