import { cpus } from 'node:os';
import { parseArgs } from 'node:util';

import { abandonable } from '../src/common/abandonable.js';
import { Cleanup } from '../test/support/cleanup.js';
import { missingEngine } from '../test/support/engines.js';
import type { BenchPart } from './bench-part.js';
import { bytesMoved } from './bytes-moved.js';
import { type Figure, renderTable } from './figure.js';
import { Interruption } from './interruption.js';
import { largeLayer } from './large-layer.js';
import { dockerLinks } from './links/docker-links.js';
import { swarmLinks } from './links/swarm-links.js';
import { ProcessorTime } from './processor-time.js';
import { FULL, QUICK, type Scale } from './scale.js';
import { simulation } from './simulator/simulation.js';
import { timeToReadyContainerd } from './time-to-ready-containerd.js';
import { timeToReady } from './time-to-ready.js';

const PARTS: readonly BenchPart[] = [
  simulation,
  bytesMoved,
  swarmLinks,
  dockerLinks,
  timeToReady,
  timeToReadyContainerd,
  largeLayer,
];

/** `npm run bench -- [--quick] [part …]` */
async function main(signal: AbortSignal): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { quick: { type: 'boolean', default: false } },
    allowPositionals: true,
  });
  const scale = values.quick ? QUICK : FULL;
  const figures: Figure[] = [];
  const runs: string[] = [];
  for (const part of PARTS.filter(({ name }) => positionals.length === 0 || positionals.includes(name))) {
    const missing = part.programs.flatMap((program) => missingEngine(program) ?? []);
    if (missing.length > 0) {
      console.error(`\n*** SKIPPED: ${part.name}: ${missing.join(', ')} ***\n`);
      continue;
    }
    const others = await ProcessorTime.busyWithOthers();
    const before = await ProcessorTime.now();
    const startedMs = performance.now();
    figures.push(...(await runPart(part, scale, signal)));
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(0);
    const busy = percent(await before.busySince());
    runs.push(`${part.name}: ${seconds} s, processors ${busy} busy, ${percent(others)} just before`);
    console.error(runs.at(-1));
  }
  const [processor] = cpus();
  console.log(
    `\n${cpus().length} × ${processor?.model ?? 'unknown processor'}, ${new Date().toISOString()}\n`,
  );
  console.log(`${renderTable(figures)}\n\n${runs.join('\n')}`);
}

/** @throws the signal's reason, once everything that was started has ended */
async function runPart(part: BenchPart, scale: Scale, signal: AbortSignal): Promise<readonly Figure[]> {
  const cleanup = new Cleanup();
  try {
    return await abandonable(part.run(scale, cleanup), signal);
  } finally {
    cleanup.close();
    await cleanup.run();
  }
}

function percent(part: number): string {
  return `${(part * 100).toFixed(0)} %`;
}

const interruption = new Interruption();
interruption.watch();
try {
  await main(interruption.signal);
} catch (error) {
  if (interruption.exitCode === undefined) throw error;
  console.error((interruption.signal.reason as Error).message);
  // Work that was given up may still wait for something.
  process.exit(interruption.exitCode);
}
