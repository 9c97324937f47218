import { readdir, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import type { AgentProcess } from '../support/agent-process.js';
import { FaultScene, READY_MS, survive } from '../support/fault-scene.js';
import { removeAgainAndAgain } from '../support/removed-images.js';

const CASE_MS = 2 * READY_MS;
/** The loop of a process that is stopped does not turn; timers are late by this when it goes on. */
const BLOCKED_MS = 5_000;

describe('Faults of nodes', () => {
  let scene: FaultScene;
  let agents: [AgentProcess, AgentProcess, AgentProcess];

  beforeAll(async () => {
    scene = await FaultScene.start();
    agents = scene.agents as unknown as [AgentProcess, AgentProcess, AgentProcess];
  }, CASE_MS);
  afterAll(() => scene.cleanup.run(), CASE_MS);

  /** Wants an image that arrives slowly enough for something to happen meanwhile. */
  async function wantSlowly(): Promise<string> {
    const { name, reference } = await scene.newImage();
    scene.registry.faults.add(
      new RegExp(`^GET /v2/team/${name}/blobs/`),
      { kind: 'cut', afterBytes: 60_000 },
      6,
    );
    await scene.want(reference);
    await delay(300);
    return reference;
  }

  /** Takes all images out of the runtime while nothing is on its way into it. */
  async function removeAll(): Promise<void> {
    await agents[0].wait('at rest', READY_MS, async () =>
      (await agents[0].images()).every(({ state }) => state === 'ready') ? true : undefined,
    );
    await rm(join(agents[0].storeDirectory, 'runtime', 'index.json'));
  }

  it(
    'half of the nodes are killed: the others become ready, and they too when they are back',
    async () => {
      await survive('nodes: most are killed', async () => {
        const reference = await wantSlowly();
        await Promise.all([agents[0], agents[1]].map((agent) => agent.end('SIGKILL')));
        await scene.expectReady(reference, [agents[2]]);
        agents[0].start();
        agents[1].start();
        await scene.expectReady(reference);
        return 'ready on the live ones, then on all';
      });
    },
    CASE_MS,
  );

  it(
    'all are restarted at once',
    async () => {
      await survive('nodes: all are restarted at once', async () => {
        const reference = await wantSlowly();
        await Promise.all(agents.map((agent) => agent.end('SIGKILL')));
        for (const agent of agents) agent.start();
        await scene.expectReady(reference);
        return 'ready on all nodes';
      });
    },
    CASE_MS,
  );

  it(
    'one stands still for five seconds, as when something blocks its event loop',
    async () => {
      await survive('nodes: one stands still for 5 s', async () => {
        const reference = await wantSlowly();
        process.kill(agents[1].pid, 'SIGSTOP');
        await delay(BLOCKED_MS);
        process.kill(agents[1].pid, 'SIGCONT');
        await scene.expectReady(reference);
        return 'ready on all nodes';
      });
    },
    CASE_MS,
  );

  it(
    'the store is deleted under a running agent',
    async () => {
      await survive('disk: store deleted while it is used', async () => {
        const reference = await wantSlowly();
        for (const name of ['blobs', 'partial', 'chunks', 'catalog.json', 'index.json'])
          await rm(join(agents[0].storeDirectory, name), { recursive: true, force: true });
        await scene.expectReady(reference);
        const { reference: after } = await scene.newImage();
        await scene.want(after);
        await scene.expectReady(after);
        return 'blobs are fetched again; ready on all nodes';
      });
    },
    CASE_MS,
  );

  it(
    'partial blobs and their records are cut short while the agent is away',
    async () => {
      await survive('disk: damaged partial blobs', async () => {
        const reference = await wantSlowly();
        await agents[0].end('SIGKILL');
        const partial = join(agents[0].storeDirectory, 'partial');
        for (const name of await readdir(partial)) await truncate(join(partial, name), 100);
        agents[0].start();
        await scene.expectReady(reference);
        return 'hashed again, fetched again; ready on all nodes';
      });
    },
    CASE_MS,
  );

  it(
    'the image is removed from a runtime just after it was ready, again and again',
    async () => {
      await survive('runtime: image removed again and again', async () => {
        const { reference } = await scene.newImage();
        await scene.want(reference);
        await scene.expectReady(reference);
        const before = scene.registry.ledger.requests.length;
        const seen = await removeAgainAndAgain({
          agent: agents[0],
          authorization: scene.cluster.authorization,
          reference,
          limitMs: READY_MS,
          remove: removeAll,
        });
        expect(scene.registry.ledger.requests.length).toBe(before);
        return seen;
      });
    },
    CASE_MS,
  );
});
