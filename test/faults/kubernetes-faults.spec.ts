import { join } from 'node:path';

import type { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import type { AgentCluster } from '../support/agent-cluster.js';
import { type ApiFault, ApiServerFaults } from '../support/api-server-faults.js';
import { Cleanup } from '../support/cleanup.js';
import { addImage, startDemoRegistry } from '../support/demo-images.js';
import { expectRightBlobs, idWhenReady, prepareDirectoryCluster } from '../support/directory-cluster.js';
import { survive } from '../support/fault-scene.js';
import { describeWithCluster } from '../support/kubernetes-cluster.js';
import { KubernetesLab } from '../support/kubernetes-lab.js';
import { shippedManifests } from '../support/shipped-manifests.js';

const READY_MS = 150_000;
const CASE_MS = 2 * READY_MS;
const KIB = 1024;
const NODES = 20;

describeWithCluster('Faults of the API server', () => {
  const cleanup = new Cleanup();
  let registry: DemoRegistry;
  let cluster: AgentCluster;
  let front: ApiServerFaults;
  const listed: string[] = [];

  beforeAll(async () => {
    const lab = new KubernetesLab();
    await cleanup.track(lab.open(), () => lab.close());
    registry = await startDemoRegistry(cleanup);
    const { rules, configMap } = await shippedManifests();
    await lab.createConfigMap(configMap.name, configMap.data);
    cluster = await prepareDirectoryCluster(cleanup, 3, {
      LOCK_BACKEND: 'kubernetes',
      K8S_NAMESPACE: lab.namespace,
      K8S_LOCK_TIMEOUT: '30s',
      PEER_AUTH: 'key',
    });
    const kubeconfig = join(cluster.directory, 'kubeconfig');
    await lab.writeKubeconfigOf('image-preheat', rules, kubeconfig);
    front = await cleanup.track(ApiServerFaults.start(kubeconfig), (started) => started.stop());
    for (const agent of cluster.agents) {
      agent.set('KUBECONFIG', kubeconfig);
      agent.unset('PEER_KEY_FILE');
      agent.unset('API_TOKEN_FILE');
    }
    cluster.start();
    await wantNext();
    await idWhenReady(cluster.agents, listed[0]!, READY_MS);
  }, CASE_MS);
  afterAll(() => cleanup.run(), CASE_MS);

  afterEach(async () => {
    await expectRightBlobs(cluster.agents);
  });

  async function wantNext(): Promise<string> {
    const name = `api-${listed.length}`;
    await addImage(registry, `team/${name}`, (100 + 20 * listed.length) * KIB);
    const reference = `${registry.host}/team/${name}:1.0`;
    listed.push(reference);
    await cluster.list(...listed);
    return reference;
  }

  const writes = ['PATCH'];
  const everything = ['GET', 'PATCH', 'POST'];

  it.each<[string, ApiFault]>([['slow: two seconds an answer', { kind: 'slow', delayMs: 2_000 }]])(
    '%s: images become ready',
    async (name, fault) => {
      await survive(`API server: ${name}`, async () => {
        front.fault = fault;
        const reference = await wantNext();
        await idWhenReady(cluster.agents, reference, READY_MS);
        expect(front.spoiled).toBeGreaterThan(0);
        front.fault = { kind: 'none' };
        return 'ready on all nodes, later';
      });
    },
    CASE_MS,
  );

  it.each<[string, ApiFault]>([
    ['409 to every write', { kind: 'status', status: 409, of: writes }],
    ['422 to every write', { kind: 'status', status: 422, of: writes }],
    ['403 to every write', { kind: 'status', status: 403, of: writes }],
    ['403 to everything', { kind: 'status', status: 403, of: everything }],
    ['429 to everything', { kind: 'status', status: 429, of: everything }],
    ['500 to everything', { kind: 'status', status: 500, of: everything }],
    ['connections cut', { kind: 'cut' }],
  ])(
    '%s: says so, reads nothing from the registry, and goes on afterwards',
    async (name, fault) => {
      await survive(`API server: ${name}`, async () => {
        front.fault = fault;
        const before = registry.ledger.requests.length;
        const reference = await wantNext();
        const [first] = cluster.agents;
        const seen = await first!.wait('without its lock', READY_MS, async () =>
          (await first!.images()).find(
            ({ image, reason }) => image === reference && reason?.startsWith('lock_'),
          ),
        );
        expect(registry.ledger.requests.length).toBe(before);
        expect(cluster.agents.every(({ isRunning }) => isRunning)).toBe(true);
        front.fault = { kind: 'none' };
        await idWhenReady(cluster.agents, reference, READY_MS);
        return `${seen.reason ?? ''}, nothing is read without the lock; ready when it is over`;
      });
    },
    CASE_MS,
  );

  it(
    'twenty agents make the Secret at once: all have the same key',
    async () => {
      await survive(`API server: ${NODES} agents make the Secret at once`, async () => {
        const lab = new KubernetesLab();
        await cleanup.track(lab.open(), () => lab.close());
        const { rules, configMap } = await shippedManifests();
        await lab.createConfigMap(configMap.name, configMap.data);
        const many = await prepareDirectoryCluster(cleanup, NODES, {
          LOCK_BACKEND: 'kubernetes',
          K8S_NAMESPACE: lab.namespace,
          PEER_AUTH: 'key',
        });
        const kubeconfig = join(many.directory, 'kubeconfig');
        await lab.writeKubeconfigOf('image-preheat', rules, kubeconfig);
        for (const agent of many.agents) {
          agent.set('KUBECONFIG', kubeconfig);
          agent.unset('PEER_KEY_FILE');
          agent.unset('API_TOKEN_FILE');
        }
        many.start();
        await many.acquainted(READY_MS);
        await Promise.all(many.agents.map((agent) => agent.end('SIGKILL')));
        return 'every one has met the 19 others';
      });
    },
    CASE_MS,
  );
});
