import { cpus } from 'node:os';
import { parseArgs } from 'node:util';

import { Cleanup } from '../test/support/cleanup.js';
import { missingEngine } from '../test/support/engines.js';
import type { BenchPart } from './bench-part.js';
import { bytesMoved } from './bytes-moved.js';
import { type Figure, renderTable } from './figure.js';
import { largeLayer } from './large-layer.js';
import { swarmLinks } from './links/swarm-links.js';
import { FULL, QUICK } from './scale.js';
import { simulation } from './simulator/simulation.js';
import { timeToReadyContainerd } from './time-to-ready-containerd.js';
import { timeToReady } from './time-to-ready.js';

const PARTS: readonly BenchPart[] = [
  simulation,
  bytesMoved,
  swarmLinks,
  timeToReady,
  timeToReadyContainerd,
  largeLayer,
];

/** `npm run bench -- [--quick] [part …]` */
async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { quick: { type: 'boolean', default: false } },
    allowPositionals: true,
  });
  const scale = values.quick ? QUICK : FULL;
  const figures: Figure[] = [];
  for (const part of PARTS.filter(({ name }) => positionals.length === 0 || positionals.includes(name))) {
    const missing = part.programs.flatMap((program) => missingEngine(program) ?? []);
    if (missing.length > 0) {
      console.error(`\n*** SKIPPED: ${part.name}: ${missing.join(', ')} ***\n`);
      continue;
    }
    const startedMs = performance.now();
    const cleanup = new Cleanup();
    try {
      figures.push(...(await part.run(scale, cleanup)));
    } finally {
      await cleanup.run();
    }
    console.error(`${part.name}: ${((performance.now() - startedMs) / 1000).toFixed(0)} s`);
  }
  const [processor] = cpus();
  console.log(
    `\n${cpus().length} × ${processor?.model ?? 'unknown processor'}, ${new Date().toISOString()}\n`,
  );
  console.log(renderTable(figures));
}

await main();
