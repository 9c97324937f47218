import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

import type { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import type { AgentCluster } from '../support/agent-cluster.js';
import type { AgentProcess } from '../support/agent-process.js';
import { ApiServerFront } from '../support/api-server-front.js';
import { Cleanup } from '../support/cleanup.js';
import { addImage, sentBytes, startDemoRegistry } from '../support/demo-images.js';
import { idWhenReady, prepareDirectoryCluster } from '../support/directory-cluster.js';
import { describeWithCluster } from '../support/kubernetes-cluster.js';
import { KubernetesLab } from '../support/kubernetes-lab.js';
import { shippedManifests } from '../support/shipped-manifests.js';

const KIB = 1024;
const AGENTS = 5;
const READY_MS = 120_000;

describeWithCluster('Agents on the kubernetes lock, with the ServiceAccount and Role of k8s/', () => {
  const cleanup = new Cleanup();
  let registry: DemoRegistry;
  let cluster: AgentCluster;
  let front: ApiServerFront;
  let working: readonly AgentProcess[];
  let late: AgentProcess;
  let image: string;
  let seed: string;
  let another: string;
  let uniqueBytes: number;

  beforeAll(async () => {
    const lab = new KubernetesLab();
    await cleanup.track(lab.open(), () => lab.close());
    registry = await startDemoRegistry(cleanup);
    uniqueBytes = await addImage(registry, 'team/app', 500 * KIB);
    uniqueBytes += await addImage(registry, 'team/seed', 100 * KIB);
    await addImage(registry, 'team/another', 300 * KIB);
    seed = `${registry.host}/team/seed:1.0`;
    [image, another] = [`${registry.host}/team/app:1.0`, `${registry.host}/team/another:1.0`];
    cluster = await prepareDirectoryCluster(cleanup, AGENTS + 1, {
      LOCK_BACKEND: 'kubernetes',
      K8S_NAMESPACE: lab.namespace,
      PEER_AUTH: 'key',
    });
    const kubeconfig = join(cluster.directory, 'kubeconfig');
    const { rules, configMap } = await shippedManifests();
    await lab.createConfigMap(configMap.name, configMap.data);
    await lab.writeKubeconfigOf('image-preheat', rules, kubeconfig);
    front = await cleanup.track(ApiServerFront.start(kubeconfig), (started) => started.stop());
    for (const agent of cluster.agents) {
      agent.set('KUBECONFIG', kubeconfig);
      // The key comes from the Secret, which the first agent makes.
      agent.unset('PEER_KEY_FILE');
      agent.unset('API_TOKEN_FILE');
    }
    working = cluster.agents.slice(0, AGENTS);
    late = cluster.agents[AGENTS]!;
    await cluster.list(image, seed);
  }, READY_MS);

  afterAll(() => cleanup.run(), 60_000);

  it(
    'become ready, the registry sends everything once',
    async () => {
      for (const agent of working) agent.start();
      for (const wanted of [image, seed]) await idWhenReady(working, wanted, READY_MS);
      expect(sentBytes(registry)).toBe(uniqueBytes);
    },
    READY_MS,
  );

  it(
    'get along without the API server: what is resolved travels on, nothing new is read',
    async () => {
      // A newcomer that wants an image of its peers only after the API server has gone; it has read key and records.
      await late.list(seed);
      late.start();
      await late.until(seed, 'ready', READY_MS);
      await front.pause();
      await late.list(seed, image);
      expect((await late.until(image, 'ready', READY_MS)).source).toBe('peer');
      const [known] = working as [AgentProcess];
      for (const agent of working) await agent.list(image, seed, another);
      await known.wait('lock_unavailable', READY_MS, async () =>
        (await known.images()).find(({ reason }) => reason === 'lock_unavailable'),
      );
      expect(working.every(({ isRunning }) => isRunning)).toBe(true);
      expect(registry.ledger.count(/team\/another/)).toBe(0);
    },
    READY_MS,
  );

  it(
    'let in, and believe, an agent that starts without the API server',
    async () => {
      await late.end();
      await late.list(seed);
      // What it has of images would have to come from nowhere; what it knows is all that it starts with.
      for (const name of await readdir(late.storeDirectory))
        if (!['peer-key', 'records.json'].includes(name))
          await rm(join(late.storeDirectory, name), { recursive: true });
      late.start();
      expect((await late.until(seed, 'ready', READY_MS)).source).toBe('peer');
    },
    READY_MS,
  );

  it(
    'go on when it is back',
    async () => {
      await front.resume();
      await idWhenReady(working, another, READY_MS);
    },
    READY_MS,
  );
});
