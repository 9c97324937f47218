import { setImmediate } from 'node:timers/promises';

import { chunkCountOf } from '../../src/domain/chunk-map.js';
import type { BenchPart } from '../bench-part.js';
import type { Figure } from '../figure.js';
import { MIB, type Scale } from '../scale.js';
import { transferBoundMs } from '../transfer-bound.js';
import { SwarmSimulator } from './swarm-simulator.js';

const BLOB_BYTES = 256 * MIB;
const LINK_BYTES_PER_SECOND = 12_500_000;
const SEED = 1;
const TARGET = 1.15;
/** Of more than a hundred nodes. */
const LARGE_TARGET = 1.3;
const GATE = 1.3;

/** The agent's own scheduler, neighbours and swarms on simulated links: clusters larger than this machine. */
export const simulation: BenchPart = {
  name: 'simulation',
  programs: [],
  async run({ simulatedNodes }: Scale): Promise<readonly Figure[]> {
    const figures: Figure[] = [];
    for (const nodes of simulatedNodes) {
      // Signals are heard between two of them.
      await setImmediate();
      figures.push(simulate(nodes));
    }
    return figures;
  },
};

function simulate(nodes: number): Figure {
  const result = new SwarmSimulator({
    nodes,
    blobBytes: BLOB_BYTES,
    linkBytesPerSecond: LINK_BYTES_PER_SECOND,
    seed: SEED,
  }).run();
  const blob = { bytes: BLOB_BYTES, chunks: chunkCountOf(BLOB_BYTES) };
  const { seconds, holderSent, refused, questionsPerSecond, holderQuestionsPerSecond } = result;
  return {
    what: `simulated, ${nodes} nodes: slowest node ÷ T_LB`,
    value: (seconds * 1000) / transferBoundMs(nodes, blob, LINK_BYTES_PER_SECOND),
    target: nodes > 100 ? LARGE_TARGET : TARGET,
    gate: GATE,
    detail:
      `the holder sent ${holderSent.toFixed(2)} × the blob; ${refused.toFixed(1)} refusals per chunk; ` +
      `in its busiest second a node was asked ${questionsPerSecond} times, the holder ${holderQuestionsPerSecond} times`,
  };
}
