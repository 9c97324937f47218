import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';

import { systemClock } from '../../src/common/clock.js';
import { digestOf } from '../../src/domain/digest.js';
import { messageOf } from '../../src/domain/errors.js';
import { KeyedChance } from './keyed-chance.js';
import { flipped, type FaultKind } from './swarm-faults.js';
import { swarmImages } from './swarm-images.js';
import { type Blow, type Scenario, scenarioOf } from './swarm-scenario.js';
import { SwarmNode } from './swarm-node.js';
import { swarmWorld, type SwarmWorld } from './swarm-world.js';
import { TemporaryStore } from './temporary-store.js';

/** Of real time; a run takes a second or two, and more than this only when nothing moves any more. */
const LIMIT_MS = 60_000;
const LOOK_MS = 20;

/** What came of one run. */
export interface SwarmReport {
  readonly seed: number;
  /** Nothing was injected. */
  readonly isClean: boolean;
  readonly faults: ReadonlyMap<FaultKind, number>;
  /** Blobs that were put before the others with wrong bytes in them, anywhere. */
  readonly wrongBlobs: readonly string[];
  /** Blobs of complete images that were held against the right bytes. */
  readonly checkedBlobs: number;
  /** Nodes of another character that sent wrong bytes, and of those the ones that somebody has quarantined. */
  readonly liars: { readonly sent: number; readonly quarantined: number };
  /** Whatever else is not as it must be. */
  readonly problems: readonly string[];
}

/** One swarm, from nothing to complete on every honest node, with the misfortunes that `seed` means. */
export async function runSwarm(seed: number): Promise<SwarmReport> {
  const run = new SwarmRun(seed);
  try {
    await run.play();
    return await run.judge();
  } finally {
    await run.dispose();
  }
}

class SwarmRun {
  private readonly chance: KeyedChance;
  private readonly scenario: Scenario;
  private readonly world: SwarmWorld;
  /** In their places; a killed one stays until it is started again. */
  private readonly nodes: SwarmNode[] = [];
  private readonly killed: SwarmNode[] = [];
  private readonly leftovers: string[] = [];
  private readonly received = new Map<SwarmNode, number>();
  private readonly open: Set<Blow>;
  private readonly problems: string[] = [];
  private restarting = 0;
  private readonly restarts: Promise<void>[] = [];
  private isOver = false;

  constructor(private readonly seed: number) {
    this.chance = new KeyedChance(seed);
    this.scenario = scenarioOf(this.chance);
    const { characters, rate, ranges, blows } = this.scenario;
    this.open = new Set(blows);
    this.world = swarmWorld(this.chance, {
      images: swarmImages(this.chance, this.chance.hits(0.3, 'images') ? 2 : 1),
      nodes: characters.length,
      rate,
      ranges,
      isRegistryWrongOnce: rate > 0 && this.chance.hits(0.25, 'a wrong registry'),
      longStalls: this.chance.hits(0.05, 'long stalls'),
    });
  }

  private get isClean(): boolean {
    const { characters, rate, blows } = this.scenario;
    return rate === 0 && blows.length === 0 && characters.every((character) => character === 'honest');
  }

  /** Until every honest node that is alive has everything, or nothing moves any more. */
  async play(): Promise<void> {
    const { characters, filled } = this.scenario;
    for (const at of characters.keys()) this.nodes.push(await this.startNode(at));
    if (filled !== undefined) for (const image of this.world.images) await this.nodes[filled]?.fill(image);
    for (const [at, node] of this.nodes.entries()) node.begin(this.chance.whole(1500, 'begin', at));
    const untilMs = systemClock.monotonicMs() + LIMIT_MS;
    const isMissing = ({ isAlive, isHonest, isComplete }: SwarmNode): boolean =>
      isAlive && isHonest && !isComplete;
    while (this.restarting > 0 || this.nodes.some(isMissing)) {
      if (systemClock.monotonicMs() > untilMs) {
        for (const node of this.nodes.filter(isMissing)) this.problems.push(await this.describe(node));
        break;
      }
      await systemClock.sleep(LOOK_MS);
    }
    this.isOver = true;
    await Promise.all(this.restarts);
    await Promise.all([...this.nodes, ...this.killed].map((node) => node.end()));
  }

  async judge(): Promise<SwarmReport> {
    const wrongBlobs: string[] = [];
    let checkedBlobs = 0;
    for (const node of [...this.nodes, ...this.killed]) {
      for (const digest of await node.files.store.verifyAll(new AbortController().signal))
        wrongBlobs.push(`${digest} on ${node.options.name}`);
      checkedBlobs += await this.checkComplete(node, wrongBlobs);
      for (const surprise of node.surprises)
        this.problems.push(
          `${node.options.name} met ${surprise instanceof Error ? surprise.stack : messageOf(surprise)}`,
        );
      this.checkQuarantine(node);
    }
    for (const directory of this.leftovers) await this.checkLeftover(directory, wrongBlobs);
    if (this.isClean) this.checkReads();
    return {
      seed: this.seed,
      isClean: this.isClean,
      faults: this.world.faults.counts,
      wrongBlobs,
      checkedBlobs,
      liars: this.countLiars(),
      problems: this.problems,
    };
  }

  async dispose(): Promise<void> {
    for (const node of [...this.nodes, ...this.killed]) await node.dispose();
    for (const directory of this.leftovers) await rm(directory, { recursive: true, force: true });
  }

  private startNode(at: number, directory?: string): Promise<SwarmNode> {
    return SwarmNode.start(
      {
        name: `node-${at}`,
        address: this.world.addresses[at] ?? { host: '10.0.0.0', port: 3000 },
        character: this.scenario.characters[at] ?? 'honest',
        onBytes: (node, image, bytes) => this.arrived(node, image, bytes),
        ...(directory === undefined ? {} : { directory }),
      },
      this.world,
    );
  }

  private arrived(node: SwarmNode, image: string, bytes: number): void {
    const received = (this.received.get(node) ?? 0) + bytes;
    this.received.set(node, received);
    const isHolder = this.world.lock.holderOf(image) === node.identity.instance;
    for (const blow of this.open) {
      const isMeant = blow.node === undefined ? isHolder : blow.node === node.options.name;
      if (!isMeant || !node.isAlive || received < blow.afterPart * this.imageBytes) continue;
      this.open.delete(blow);
      if (blow.kind === 'kill') this.kill(node, blow, isHolder);
      else if (isHolder) {
        this.world.faults.note('lease_lost');
        this.world.lock.lose(image);
      }
    }
  }

  private get imageBytes(): number {
    return [...(this.world.images[0]?.blobs.values() ?? [])].reduce((sum, { length }) => sum + length, 0);
  }

  private kill(node: SwarmNode, { restartAfterMs }: Blow, isHolder: boolean): void {
    this.world.faults.note(isHolder ? 'holder_killed' : 'killed');
    const directory = node.kill();
    if (restartAfterMs === undefined) {
      this.leftovers.push(directory);
      return;
    }
    this.restarting += 1;
    this.restarts.push(this.restart(node, directory, restartAfterMs));
  }

  private async restart(node: SwarmNode, directory: string, afterMs: number): Promise<void> {
    await this.world.clock.sleep(afterMs);
    if (this.chance.hits(0.3, 'damage', directory.length, node.options.name)) this.damage(directory);
    const at = this.nodes.indexOf(node);
    const next = await this.startNode(at, directory);
    this.world.faults.note('restarted');
    this.killed.push(node);
    this.nodes[at] = next;
    this.restarting -= 1;
    if (!this.isOver) next.begin(0);
  }

  /** What the disk of a crashed machine may have made of files that were not synced. */
  private damage(directory: string): void {
    const partials = join(directory, 'partial');
    for (const name of readdirSync(partials).filter((file) => /^[0-9a-f]{64}$/.test(file))) {
      const path = join(partials, name);
      const bytes = readFileSync(path);
      if (bytes.length === 0) continue;
      const at = this.chance.whole(bytes.length, 'damage', name);
      bytes[at] = flipped(bytes[at]);
      writeFileSync(path, bytes);
      this.world.faults.note('damaged_partial');
    }
  }

  /** @returns how many blobs of complete images are there, byte by byte */
  private async checkComplete(node: SwarmNode, wrongBlobs: string[]): Promise<number> {
    let checked = 0;
    for (const { name, root, manifest, blobs } of this.world.images.filter((image) =>
      node.complete.has(image.name),
    ))
      for (const [digest, bytes] of [[root, manifest] as const, ...blobs]) {
        const stored = await node.files.store.readBytes(digest, Infinity);
        if (!stored) this.problems.push(`${node.options.name} has ${name} complete without ${digest}`);
        else if (!stored.equals(bytes)) wrongBlobs.push(`${digest} on ${node.options.name}`);
        checked += 1;
      }
    return checked;
  }

  private async checkLeftover(directory: string, wrongBlobs: string[]): Promise<void> {
    const files = await TemporaryStore.open({ directory });
    for (const digest of await files.store.verifyAll(new AbortController().signal))
      wrongBlobs.push(`${digest} left by a killed node`);
    await files.store.close();
  }

  /** Whoever is not asked any more must have sent wrong bytes to the one that does not ask it, or named a wrong hash. */
  private checkQuarantine(node: SwarmNode): void {
    if (!node.isHonest) return;
    const { wrongSenders, wrongClaimants } = this.world.network;
    for (const instance of node.quarantined) {
      const pair = `${instance} ${node.identity.instance}`;
      const other = [...this.nodes, ...this.killed].find(({ identity }) => identity.instance === instance);
      if (wrongSenders.has(pair) || wrongClaimants.has(pair) || !other?.isHonest) continue;
      this.problems.push(
        `${node.options.name} has quarantined ${other.options.name}, which never lied to it`,
      );
    }
  }

  private checkReads(): void {
    const wanted = this.scenario.filled === undefined ? 1 : 0;
    for (const [digest, bytes] of this.world.blobs) {
      if (bytes.length === 0) continue;
      const reads = this.world.registry.reads.get(digest) ?? [0];
      if (reads.some((times) => times !== wanted))
        this.problems.push(`the registry sent the chunks of ${digest} ${reads.join(', ')} times`);
    }
  }

  private countLiars(): SwarmReport['liars'] {
    const all = [...this.nodes, ...this.killed];
    const quarantined = new Set(all.flatMap((node) => [...node.quarantined]));
    const senders = new Set([...this.world.network.wrongSenders].map((pair) => pair.split(' ')[0]));
    const liars = all.filter(({ isHonest, identity }) => !isHonest && senders.has(identity.instance));
    return {
      sent: liars.length,
      quarantined: liars.filter(({ identity }) => quarantined.has(identity.instance)).length,
    };
  }

  private async describe({ options, complete, files, quarantined, lastStep }: SwarmNode): Promise<string> {
    const described = await files.store.describe(this.world.blobs.keys());
    const missing = [...this.world.blobs].flatMap(([digest, { length }]) => {
      const blob = described.get(digest);
      if (blob?.complete) return [];
      return [
        `${digest.slice(7, 15)} ${blob?.chunks?.size ?? 0}/${blob?.chunks?.length ?? 0} chunks of ${length} B`,
      ];
    });
    const holders = this.world.images.map(({ name }) => this.world.lock.holderOf(name) ?? 'nobody');
    return (
      `${options.name} has not all after ${LIMIT_MS / 1000} s: ${[...complete].join(', ') || 'no image'} complete, ` +
      `missing ${missing.join('; ')}; it ${lastStep}; quarantined ${quarantined.size}; locks held by ${holders.join(', ')}; ` +
      `characters ${this.scenario.characters.join(', ')}, blobs right: ${this.areTruthful()}`
    );
  }

  /** The test's own bytes are what their digests say. */
  private areTruthful(): boolean {
    return [...this.world.blobs].every(([digest, bytes]) => digestOf(bytes) === digest);
  }
}
