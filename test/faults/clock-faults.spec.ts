import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

import { FaultScene, READY_MS, survive } from '../support/fault-scene.js';

const CASE_MS = 2 * READY_MS;
const JUMPING_CLOCK = pathToFileURL(join(__dirname, '../support/jumping-clock.mjs')).href;

describe('Faults of the clock', () => {
  let scene: FaultScene;

  beforeAll(async () => {
    scene = await FaultScene.start({ NODE_OPTIONS: `--import=${JUMPING_CLOCK}` });
    await Promise.all(
      scene.agents.map((agent) =>
        agent.wait('answering', READY_MS, async () => ((await agent.get('/health')).ok ? true : undefined)),
      ),
    );
  }, CASE_MS);
  afterAll(() => scene.cleanup.run(), CASE_MS);

  it.each([
    ['an hour ahead on one node', [0]],
    ['an hour ahead on all nodes but that one, which goes an hour back', [0, 1, 2]],
    ['back and right again', [0, 1, 2]],
  ])(
    'jumps %s: the image becomes ready',
    async (jump, nodes) => {
      await survive(`clock: jumps ${jump}`, async () => {
        const { name, reference } = await scene.newImage();
        const blobs = new RegExp(`^GET /v2/team/${name}/blobs/`);
        scene.registry.faults.add(blobs, { kind: 'cut', afterBytes: 60_000 }, 4);
        await scene.want(reference);
        await delay(300);
        for (const node of nodes) process.kill(scene.agents[node]!.pid, 'SIGUSR2');
        await scene.expectReady(reference);
        return 'ready on all nodes';
      });
    },
    CASE_MS,
  );

  it(
    'has jumped',
    async () => {
      const [first] = scene.agents;
      process.kill(first!.pid, 'SIGUSR2');
      const { reference } = await scene.newImage();
      await scene.want(reference);
      const { since } = await first!.until(reference, 'ready', READY_MS);
      expect(Math.abs(Date.parse(since) - Date.now())).toBeGreaterThan(30 * 60_000);
    },
    CASE_MS,
  );
});
