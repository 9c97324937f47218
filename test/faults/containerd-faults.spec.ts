import type { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import type { AgentProcess } from '../support/agent-process.js';
import { AgentCluster } from '../support/agent-cluster.js';
import { Cleanup } from '../support/cleanup.js';
import { ContainerdEngine } from '../support/containerd-engine.js';
import { addImage, startDemoRegistry } from '../support/demo-images.js';
import { expectNoneWrong, wrongBlobsIn } from '../support/directory-cluster.js';
import { describeWith } from '../support/engines.js';
import { survive } from '../support/fault-scene.js';
import { removeAgainAndAgain } from '../support/removed-images.js';

const READY_MS = 150_000;
const CASE_MS = 2 * READY_MS;
const MIB = 1024 * 1024;

describeWith('containerd', 'Faults of containerd', () => {
  const cleanup = new Cleanup();
  let registry: DemoRegistry;
  let engine: ContainerdEngine;
  let cluster: AgentCluster;
  let agent: AgentProcess;

  beforeAll(async () => {
    registry = await startDemoRegistry(cleanup);
    engine = await cleanup.track(ContainerdEngine.start(), (started) => started.stop());
    const own = { RUNTIME: 'containerd', CONTAINERD_ADDRESS: engine.socketPath };
    cluster = await cleanup.track(AgentCluster.prepare([own]), (made) => made.dispose());
    [agent] = cluster.agents as [AgentProcess];
    agent.start();
  }, CASE_MS);
  afterAll(() => cleanup.run(), CASE_MS);

  async function expectReady(reference: string): Promise<void> {
    await agent.until(reference, 'ready', READY_MS);
    expect(await engine.cri.status(reference)).toMatchObject({ repoTags: [reference] });
    expectNoneWrong(await wrongBlobsIn(engine.blobDirectory));
  }

  it(
    'an image is removed just after it was ready, as kubelet does it, again and again',
    async () => {
      await survive('containerd: image removed again and again', async () => {
        await addImage(registry, 'team/removed', 4 * MIB);
        const reference = `${registry.host}/team/removed:1.0`;
        await agent.list(reference);
        await expectReady(reference);
        const seen = await removeAgainAndAgain({
          agent,
          authorization: cluster.authorization,
          reference,
          limitMs: READY_MS,
          remove: () => engine.cri.remove(reference),
        });
        await expectReady(reference);
        return seen;
      });
    },
    CASE_MS,
  );
});
