import { parseArgs } from 'node:util';

import { Cleanup } from '../support/cleanup.js';
import { Soak } from './soak.js';

/** `npm run soak -- --minutes N [--nodes N] [--seed N]` */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '20' },
      nodes: { type: 'string', default: '5' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    },
  });
  const [minutes, nodes, seed] = [values.minutes, values.nodes, values.seed].map(Number);
  if (!minutes || !nodes || seed === undefined || !(minutes > 0) || !(nodes > 1))
    throw new RangeError('--minutes must be above 0, --nodes 2 or more');
  const cleanup = new Cleanup();
  try {
    const soak = await Soak.start({ nodes, seed }, cleanup);
    const problems = await soak.run(minutes * 60_000);
    for (const problem of problems) console.error(problem);
    if (problems.length > 0) process.exitCode = 1;
  } finally {
    await cleanup.run();
  }
}

await main();
