import { setTimeout as delay } from 'node:timers/promises';

import type { Cleanup } from '../test/support/cleanup.js';
import { DockerEngine } from '../test/support/docker-engine.js';
import type { BenchPart } from './bench-part.js';
import { pullImage, removeImages } from './engine-images.js';
import type { Figure } from './figure.js';
import { readyAgainstPull, SETTLE_MS } from './ready-pairs.js';
import type { Scale } from './scale.js';

/** The agent on one Docker Engine beside `docker pull`. */
export const timeToReady: BenchPart = {
  name: 'time-to-ready',
  programs: ['dockerd', 'docker-registry'],
  async run({ pairs }: Scale, cleanup: Cleanup): Promise<readonly Figure[]> {
    const engine = await cleanup.track(DockerEngine.start(), (it) => it.stop());
    const docker = {
      environment: { RUNTIME: 'docker', DOCKER_HOST: engine.host },
      removeImages: async (): Promise<void> => {
        await removeImages(engine);
        await delay(SETTLE_MS);
      },
      pull: (reference: string) => pullImage(engine, reference),
    };
    return [
      {
        what: 'time to ready from a warm store ÷ docker pull from a local registry',
        target: 1,
        gate: 1.15,
        ...(await readyAgainstPull(docker, pairs, cleanup)),
      },
    ];
  },
};
