import { setTimeout as delay } from 'node:timers/promises';

import type { Cleanup } from '../test/support/cleanup.js';
import { ContainerdEngine } from '../test/support/containerd-engine.js';
import type { BenchPart } from './bench-part.js';
import type { Figure } from './figure.js';
import { readyAgainstPull, SETTLE_MS } from './ready-pairs.js';
import type { Scale } from './scale.js';

/** The agent on one containerd beside CRI's `PullImage`. */
export const timeToReadyContainerd: BenchPart = {
  name: 'time-to-ready-containerd',
  programs: ['containerd', 'docker-registry'],
  async run({ pairs }: Scale, cleanup: Cleanup): Promise<readonly Figure[]> {
    const engine = await cleanup.track(ContainerdEngine.start(), (it) => it.stop());
    const containerd = {
      environment: { RUNTIME: 'containerd', CONTAINERD_ADDRESS: engine.socketPath },
      removeImages: () => removeImages(engine),
      pull: (reference: string) => engine.cri.pull(reference),
    };
    return [
      {
        what: 'time to ready from a warm store ÷ CRI PullImage from a local registry',
        target: 1.1,
        gate: 1.1,
        ...(await readyAgainstPull(containerd, pairs, cleanup)),
      },
    ];
  },
};

/** All names, blobs and snapshots: what a pull starts from on a node that has never seen the image. */
async function removeImages(engine: ContainerdEngine): Promise<void> {
  for (const { name } of await engine.images()) await engine.ctr(['images', 'rm', '--sync', name]);
  while ((await engine.cri.images()).length > 0) await delay(100);
  await delay(SETTLE_MS);
  const left = await engine.ctr(['content', 'ls', '--quiet']);
  if (left.trim() !== '') throw new Error(`containerd still has blobs:\n${left}`);
}
