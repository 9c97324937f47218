import type { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import type { AgentCluster } from '../support/agent-cluster.js';
import type { AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { addImage, startDemoRegistry } from '../support/demo-images.js';
import { prepareDirectoryCluster } from '../support/directory-cluster.js';

const KIB = 1024;
const READY_MS = 60_000;

describe('Images beside the list', () => {
  const cleanup = new Cleanup();
  let registry: DemoRegistry;
  let cluster: AgentCluster;
  let agent: AgentProcess;
  let listed: string;
  let requested: string;

  beforeAll(async () => {
    registry = await startDemoRegistry(cleanup);
    await addImage(registry, 'team/listed', 64 * KIB);
    await addImage(registry, 'team/requested', 128 * KIB);
    [listed, requested] = [`${registry.host}/team/listed:1.0`, `${registry.host}/team/requested:1.0`];
    cluster = await prepareDirectoryCluster(cleanup, 1, { INTERVAL: '10m' });
    [agent] = cluster.agents as [AgentProcess];
    await agent.list(listed);
    agent.start();
    await agent.until(listed, 'ready', READY_MS);
  }, READY_MS);

  afterAll(() => cleanup.run(), 30_000);

  async function preheat(image: string, headers: Readonly<Record<string, string>>): Promise<Response> {
    return fetch(`${agent.url}/images/preheat`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ images: [image] }),
    });
  }

  async function statusOf(path: string, headers?: Readonly<Record<string, string>>): Promise<number> {
    const answer = await agent.get(path, headers);
    await answer.arrayBuffer();
    return answer.status;
  }

  const check = (image: string): string => `/images/check?image=${encodeURIComponent(image)}`;
  const download = (image: string): string => `/images/download?image=${encodeURIComponent(image)}`;

  it('need the API token, and a registry that is known', async () => {
    expect((await preheat(requested, {})).status).toBe(401);
    expect((await preheat(requested, { Authorization: 'Bearer wrong' })).status).toBe(401);
    const foreign = await preheat('registry.example/team/app:1.0', cluster.authorization);
    expect(foreign.status).toBe(403);
    expect(await foreign.json()).toMatchObject({ statusCode: 403, code: expect.any(String) as string });
    expect((await preheat('Not A Reference', cluster.authorization)).status).toBe(400);
    expect(registry.ledger.count(/requested/)).toBe(0);
  });

  it(
    'become ready on request',
    async () => {
      const answer = await preheat(requested, cluster.authorization);
      expect(answer.status).toBe(202);
      expect(await answer.json()).toEqual({ images: [requested] });
      await agent.until(requested, 'ready', READY_MS);
      expect((await agent.images()).map(({ image }) => image).sort()).toEqual([listed, requested].sort());
      expect(await statusOf(check(requested))).toBe(200);
      expect(await statusOf(download(requested), cluster.authorization)).toBe(200);
      expect(await statusOf(download(requested))).toBe(401);
    },
    READY_MS,
  );

  it(
    'are nobody’s business once they are neither listed nor requested, though the runtime has them',
    async () => {
      await agent.end();
      agent.start({ READ_AUTH: 'true' });
      await agent.wait('ready again', READY_MS, async () =>
        (await statusOf(check(listed), cluster.authorization)) === 200 ? true : undefined,
      );
      expect(await statusOf(check(requested), cluster.authorization)).toBe(404);
      expect(await statusOf(download(requested), cluster.authorization)).toBe(404);
      expect(await statusOf(download(listed), cluster.authorization)).toBe(200);
    },
    READY_MS,
  );

  it('and all others are shown to holders of the token only, with READ_AUTH', async () => {
    for (const path of ['/images', check(listed), '/metrics', '/docs', '/docs-json']) {
      expect({ path, status: await statusOf(path) }).toEqual({ path, status: 401 });
      expect({ path, status: await statusOf(path, cluster.authorization) }).toEqual({ path, status: 200 });
    }
    expect(await statusOf('/health')).toBe(200);
    expect(await statusOf('/health/ready')).toBe(200);
  });
});
