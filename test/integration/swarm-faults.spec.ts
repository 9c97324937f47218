import { Readable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';

import { Logger } from '@nestjs/common';

import type { Digest } from '../../src/domain/digest.js';
import { Cleanup } from '../support/cleanup.js';
import { IS_FULL_PROFILE } from '../support/directory-cluster.js';
import { KeyedChance } from '../support/keyed-chance.js';
import { swarmImages } from '../support/swarm-images.js';
import { SwarmNode } from '../support/swarm-node.js';
import { runSwarm, type SwarmReport } from '../support/swarm-run.js';
import { swarmWorld, type SwarmWorld } from '../support/swarm-world.js';

const MIB = 1024 * 1024;
const RUNS = IS_FULL_PROFILE ? 200 : 40;
const FIRST_SEED = 1;
/** Of a short run: two images of one node waited for each other, for a layer that a peer had promised both in vain. */
const KNOWN_SEEDS = [90];
/** `SWARM_SEED=17` runs that one again, and no other. */
const ONLY_SEED = process.env['SWARM_SEED'];
const allSeeds = [...new Set([...Array.from({ length: RUNS }, (_, at) => FIRST_SEED + at), ...KNOWN_SEEDS])];
const seeds = ONLY_SEED === undefined ? allSeeds : [Number(ONLY_SEED)];

/** Nodes that choose at random choose the same for the same seed, as far as they are asked in the same order. */
function seedRandom(seed: number): void {
  const chance = new KeyedChance(seed);
  jest.spyOn(Math, 'random').mockImplementation(() => chance.fraction('random', chance.turn('random')));
}

function summaryOf(reports: readonly SwarmReport[]): string {
  const faults = new Map<string, number>();
  for (const report of reports)
    for (const [kind, count] of report.faults) faults.set(kind, (faults.get(kind) ?? 0) + count);
  const sum = (of: (report: SwarmReport) => number): number =>
    reports.reduce((total, one) => total + of(one), 0);
  const kinds = [...faults].toSorted(([left], [right]) => left.localeCompare(right));
  return [
    `${reports.length} runs, ${sum(({ isClean }) => (isClean ? 1 : 0))} of them clean`,
    `faults: ${kinds.map(([kind, count]) => `${kind} ${count}`).join(', ')}`,
    `${sum(({ liars }) => liars.quarantined)} of ${sum(({ liars }) => liars.sent)} liars quarantined`,
    `${sum(({ checkedBlobs }) => checkedBlobs)} blobs compared`,
    `wrong bytes committed: ${sum(({ wrongBlobs }) => wrongBlobs.length)}`,
  ].join('; ');
}

describe('a node whose store holds a wrong chunk that an earlier process took from a liar', () => {
  const { signal } = new AbortController();
  const chance = new KeyedChance(1);
  const images = swarmImages(chance, 1);
  let cleanup: Cleanup;
  let world: SwarmWorld;
  let other: SwarmNode;
  let node: SwarmNode;
  /** The blob that the chunk is of. */
  let digest: Digest;
  let bytes: Buffer;

  beforeEach(async () => {
    cleanup = new Cleanup();
    world = swarmWorld(chance, { images, nodes: 2 });
    const start = (at: number): Promise<SwarmNode> => {
      const address = world.addresses[at]!;
      const options = { name: `node-${at}`, address, character: 'honest', onBytes: () => undefined } as const;
      return cleanup.track(SwarmNode.start(options, world), (started) => started.dispose());
    };
    other = await start(0);
    node = await start(1);
    [digest, bytes] = [...world.blobs].find(([, content]) => content.length > 2 * MIB)!;
    const partial = await node.files.store.openPartial(digest, bytes.length);
    await partial.write(0, Readable.from([Buffer.alloc(MIB, 'wrong')]), signal);
    await partial.close();
  });
  afterEach(() => cleanup.run());

  async function expectComplete(): Promise<void> {
    while (!node.isComplete) await setTimeout(10);
    expect(await node.files.store.verifyAll(signal)).toEqual([]);
    expect([...node.quarantined]).toEqual([]);
  }

  it('finds it out by the digest, blames nobody for it, and fetches the blob again', async () => {
    await other.fill(images[0]!);
    node.begin(0);
    await expectComplete();
    expect([...world.registry.reads]).toEqual([]);
  }, 60_000);

  it('waits for nobody who has a part of it: it has to come from a single source now', async () => {
    // With the plan at hand it asks the others before it tries for the lock.
    await node.files.store.putBytes(images[0]!.root, images[0]!.manifest);
    const partial = await other.files.store.openPartial(digest, bytes.length);
    await partial.write(MIB, Readable.from([bytes.subarray(MIB)]), signal);
    node.begin(0);
    await expectComplete();
    expect(world.registry.reads.get(digest)).toEqual([1, 1, 1]);
  }, 60_000);
});

describe('nodes that have the same part of a blob, of which nobody has the rest', () => {
  it('do not wait for each other: one reads the rest, and no chunk twice', async () => {
    const cleanup = new Cleanup();
    try {
      const { signal } = new AbortController();
      const chance = new KeyedChance(2);
      const images = swarmImages(chance, 1);
      const world = swarmWorld(chance, { images, nodes: 2 });
      const [digest, bytes] = [...world.blobs].find(([, content]) => content.length > 2 * MIB)!;
      const nodes: SwarmNode[] = [];
      for (const [at, address] of world.addresses.entries()) {
        const options = {
          name: `node-${at}`,
          address,
          character: 'honest',
          onBytes: () => undefined,
        } as const;
        const node = await cleanup.track(SwarmNode.start(options, world), (started) => started.dispose());
        await node.files.store.putBytes(images[0]!.root, images[0]!.manifest);
        const partial = await node.files.store.openPartial(digest, bytes.length);
        await partial.write(0, Readable.from([bytes.subarray(0, MIB)]), signal);
        await partial.park();
        nodes.push(node);
      }
      for (const node of nodes) node.begin(0);
      while (!nodes.every(({ isComplete }) => isComplete)) await setTimeout(10);
      expect(world.registry.reads.get(digest)).toEqual([0, 1, 1]);
    } finally {
      await cleanup.run();
    }
  }, 60_000);
});

describe('a swarm in one process, whose network, nodes and registry fail at random', () => {
  const reports: SwarmReport[] = [];

  beforeAll(() => {
    Logger.overrideLogger(false);
  });
  afterEach(() => {
    jest.restoreAllMocks();
  });
  afterAll(() => {
    process.stdout.write(`swarm faults: ${summaryOf(reports)}\n`);
  });

  it.each(seeds)(
    'commits no wrong byte, and is complete where it can be (SWARM_SEED=%d)',
    async (seed) => {
      seedRandom(seed);
      const report = await runSwarm(seed);
      reports.push(report);
      expect({ seed, wrongBlobs: report.wrongBlobs, problems: report.problems }).toEqual({
        seed,
        wrongBlobs: [],
        problems: [],
      });
    },
    120_000,
  );
});
