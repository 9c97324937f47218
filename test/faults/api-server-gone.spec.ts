import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import type { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import type { AgentCluster } from '../support/agent-cluster.js';
import type { AgentProcess } from '../support/agent-process.js';
import { ApiServerFront } from '../support/api-server-front.js';
import { Cleanup } from '../support/cleanup.js';
import { addImage, startDemoRegistry } from '../support/demo-images.js';
import {
  expectRightBlobs,
  idWhenReady,
  IS_FULL_PROFILE,
  prepareDirectoryCluster,
} from '../support/directory-cluster.js';
import { survive } from '../support/fault-scene.js';
import { describeWithCluster } from '../support/kubernetes-cluster.js';
import { KubernetesLab } from '../support/kubernetes-lab.js';
import { shippedManifests } from '../support/shipped-manifests.js';

const READY_MS = 120_000;
const LOCK_TIMEOUT_S = 4;
/** In any case long enough for every lease to have run out, and every connection to have broken. */
const GONE_S = IS_FULL_PROFILE ? 20 * 60 : 2 * LOCK_TIMEOUT_S;
const CASE_MS = GONE_S * 1000 + 4 * READY_MS;
const KIB = 1024;
/** All that an agent keeps over a restart on a node whose images are gone. */
const KEPT = ['peer-key', 'records.json'];

describeWithCluster('An API server that is gone for long', () => {
  const cleanup = new Cleanup();
  let registry: DemoRegistry;
  let cluster: AgentCluster;
  let front: ApiServerFront;
  let agents: [AgentProcess, AgentProcess, AgentProcess];
  let everywhere: string;
  let elsewhere: string;
  let unresolved: string;

  beforeAll(async () => {
    const lab = new KubernetesLab();
    await cleanup.track(lab.open(), () => lab.close());
    registry = await startDemoRegistry(cleanup);
    [everywhere, elsewhere, unresolved] = [
      await push('everywhere', 300 * KIB),
      await push('elsewhere', 320 * KIB),
      await push('unresolved', 340 * KIB),
    ];
    const { rules, configMap } = await shippedManifests();
    await lab.createConfigMap(configMap.name, configMap.data);
    cluster = await prepareDirectoryCluster(cleanup, 3, {
      LOCK_BACKEND: 'kubernetes',
      K8S_NAMESPACE: lab.namespace,
      K8S_LOCK_TIMEOUT: `${LOCK_TIMEOUT_S}s`,
      PEER_AUTH: 'key',
    });
    const kubeconfig = join(cluster.directory, 'kubeconfig');
    await lab.writeKubeconfigOf('image-preheat', rules, kubeconfig);
    front = await cleanup.track(ApiServerFront.start(kubeconfig), (started) => started.stop());
    for (const agent of cluster.agents) {
      agent.set('KUBECONFIG', kubeconfig);
      agent.unset('PEER_KEY_FILE');
      agent.unset('API_TOKEN_FILE');
    }
    agents = cluster.agents as unknown as typeof agents;
    cluster.start();
    // Resolved before the other is wanted, so that every agent has read its record when it looks for that one's.
    await agents[0].list(elsewhere);
    await agents[0].until(elsewhere, 'ready', READY_MS);
    await agents[0].list(elsewhere, everywhere);
    await agents[1].list(everywhere);
    await agents[2].list(everywhere);
    await idWhenReady(agents, everywhere, READY_MS);
  }, CASE_MS);
  afterAll(() => cleanup.run(), CASE_MS);

  async function push(name: string, layerBytes: number): Promise<string> {
    await addImage(registry, `team/${name}`, layerBytes);
    return `${registry.host}/team/${name}:1.0`;
  }

  it(
    'transfers between peers work, also those of an agent that was restarted meanwhile',
    async () => {
      await survive(`API server: gone for ${GONE_S} s, an agent is restarted meanwhile`, async () => {
        const [, running, restarted] = agents;
        const before = registry.ledger.requests.length;
        await front.pause();
        await delay((GONE_S * 1000) / 2);
        await restarted.end();
        for (const name of await readdir(restarted.storeDirectory))
          if (!KEPT.includes(name))
            await rm(join(restarted.storeDirectory, name), { recursive: true, force: true });
        restarted.start();
        await delay((GONE_S * 1000) / 2);

        expect((await restarted.until(everywhere, 'ready', READY_MS)).source).toBe('peer');
        await running.list(everywhere, elsewhere);
        expect((await running.until(elsewhere, 'ready', READY_MS)).source).toBe('peer');
        // Nobody may read the registry without a lock, and nobody can have one.
        await running.list(everywhere, elsewhere, unresolved);
        await running.wait('without a lock', READY_MS, async () =>
          (await running.images()).find(
            ({ image, reason }) => image === unresolved && reason === 'lock_unavailable',
          ),
        );
        expect(registry.ledger.requests.length).toBe(before);
        await expectRightBlobs(agents);
        for (const agent of agents) expect(agent.isRunning).toBe(true);
        await front.resume();
        await running.until(unresolved, 'ready', READY_MS);
        return 'peers serve both who ran on and who was restarted; lock_unavailable for what is not resolved; ready when it is back';
      });
    },
    CASE_MS,
  );
});
