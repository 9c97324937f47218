import { type AddressInfo, createServer, type Socket } from 'node:net';
import { once } from 'node:events';

import type { Fault } from '../../src/demo/registry/fault-plan.js';
import { FaultScene, READY_MS, survive } from '../support/fault-scene.js';
import { freePort } from '../support/free-port.js';

const CASE_MS = 2 * READY_MS;
const MANIFESTS = (name: string): RegExp => new RegExp(`/v2/team/${name}/manifests`);
/** What a TLS server says to plain HTTP: alert, protocol version 1.2, fatal, unexpected message. */
const TLS_ALERT = Buffer.from([0x15, 3, 3, 0, 2, 2, 10]);
const OF_NOTHING = { 'docker-content-digest': `sha256:${'0'.repeat(64)}` };
const BLOBS = (name: string): RegExp => new RegExp(`^GET /v2/team/${name}/blobs/`);

describe('Faults of the registry', () => {
  let scene: FaultScene;

  beforeAll(async () => {
    scene = await FaultScene.start();
  }, CASE_MS);
  afterAll(() => scene.cleanup.run(), CASE_MS);

  const passing: [string, 'manifests' | 'blobs', Fault, number][] = [
    [
      '429 with Retry-After for a manifest',
      'manifests',
      { kind: 'status', status: 429, headers: { 'retry-after': '3' } },
      1,
    ],
    [
      '429 with Retry-After for blobs',
      'blobs',
      { kind: 'status', status: 429, headers: { 'retry-after': '1' } },
      3,
    ],
    ['429 without Retry-After', 'blobs', { kind: 'status', status: 429 }, 2],
    ['500 for a manifest', 'manifests', { kind: 'status', status: 500 }, 1],
    ['502 for a manifest', 'manifests', { kind: 'status', status: 502 }, 1],
    ['502 for blobs', 'blobs', { kind: 'status', status: 502 }, 3],
    ['503 for blobs', 'blobs', { kind: 'status', status: 503 }, 3],
    ['hangs before an answer', 'blobs', { kind: 'hang' }, 1],
    ['stalls in the midst of a blob', 'blobs', { kind: 'stall', afterBytes: 50_000 }, 1],
    ['connection reset', 'blobs', { kind: 'reset' }, 3],
    ['bodies cut short', 'blobs', { kind: 'cut', afterBytes: 30_000 }, 4],
    ['wrong bytes for a blob', 'blobs', { kind: 'corrupt' }, 1],
    ['wrong bytes for a manifest', 'manifests', { kind: 'corrupt' }, 1],
    [
      'another Content-Range than asked for',
      'blobs',
      { kind: 'headers', headers: { 'content-range': 'bytes 0-0/1' } },
      2,
    ],
  ];

  it.each(passing)(
    '%s: the image becomes ready',
    async (fault, of, planned, times) => {
      await survive(`registry: ${fault}`, async () => {
        const { name, reference } = await scene.newImage();
        scene.registry.faults.add((of === 'manifests' ? MANIFESTS : BLOBS)(name), planned, times);
        await scene.want(reference);
        await scene.expectReady(reference);
        return 'ready on all nodes';
      });
    },
    CASE_MS,
  );

  it(
    '429 with a long Retry-After: all nodes wait for as long, and say until when',
    async () => {
      await survive('registry: 429 with Retry-After of half an hour', async () => {
        const { name, reference } = await scene.newImage();
        const headers = { 'retry-after': '1800' };
        scene.registry.faults.add(MANIFESTS(name), { kind: 'status', status: 429, headers }, Infinity);
        const askedMs = Date.now();
        await scene.want(reference);
        const { retryAt } = await scene.seenFailing(reference, 'rate_limited', /too many requests/);
        await scene.seenFailing(reference, 'rate_limited', /the cluster waits/);
        expect(Date.parse(retryAt ?? '')).toBeGreaterThanOrEqual(askedMs + 1_800_000);
        // The registry was asked once, by one of the nodes.
        expect(scene.registry.ledger.count(MANIFESTS(name))).toBe(1);
        await scene.mend(reference);
        return 'rate_limited with the registry’s retryAt on all nodes, then ready';
      });
    },
    CASE_MS,
  );

  it(
    'not found, then pushed: says so, and becomes ready',
    async () => {
      await survive('registry: 404 for the tag', async () => {
        const { name, reference } = await scene.newImage();
        scene.registry.faults.add(MANIFESTS(name), { kind: 'status', status: 404 }, 2);
        await scene.want(reference);
        const { retryAt } = await scene.seenFailing(reference, 'not_found');
        expect(Date.parse(retryAt ?? '')).toBeGreaterThan(0);
        await scene.mend(reference);
        return 'not_found with retryAt, then ready';
      });
    },
    CASE_MS,
  );

  it(
    'a tag that moves in the midst of it: all nodes get the one that was resolved',
    async () => {
      await survive('registry: tag moved midway', async () => {
        const { name, reference } = await scene.newImage();
        const other = await scene.newImage();
        scene.registry.faults.add(BLOBS(name), { kind: 'stall', afterBytes: 20_000 }, 1);
        await scene.want(reference);
        const [first] = scene.agents;
        await first!.wait('resolved', READY_MS, async () =>
          (await first!.images()).find(({ image, digest }) => image === reference && digest !== undefined),
        );
        const moved = scene.registry.content.manifest(`team/${other.name}`, '1.0')!;
        const bytes = Buffer.from(
          await (
            await fetch(`${scene.registry.url}/v2/team/${other.name}/manifests/1.0`, {
              headers: { accept: moved.mediaType },
            })
          ).arrayBuffer(),
        );
        await scene.registry.content.addManifest(`team/${name}`, '1.0', bytes, moved.mediaType);
        await scene.expectReady(reference);
        const digests = await Promise.all(
          scene.agents.map(
            async (agent) => (await agent.images()).find(({ image }) => image === reference)?.digest,
          ),
        );
        expect(new Set(digests).size).toBe(1);
        expect(digests[0]).not.toBe(moved.digest);
        return 'one digest on all nodes: the one that was resolved first';
      });
    },
    CASE_MS,
  );

  it(
    'a digest of a tag that there is no manifest of: asks again at once',
    async () => {
      await survive('registry: another Docker-Content-Digest, once', async () => {
        const { name, reference } = await scene.newImage();
        scene.registry.faults.add(MANIFESTS(name), { kind: 'headers', headers: OF_NOTHING }, 1);
        await scene.want(reference);
        await scene.expectReady(reference);
        return 'ready on all nodes';
      });
    },
    CASE_MS,
  );

  it(
    'the same again and again: says so, and becomes ready',
    async () => {
      await survive('registry: another Docker-Content-Digest, always', async () => {
        const { name, reference } = await scene.newImage();
        const tag = new RegExp(`^HEAD /v2/team/${name}/manifests/1.0$`);
        scene.registry.faults.add(tag, { kind: 'headers', headers: OF_NOTHING }, Infinity);
        await scene.want(reference);
        await scene.seenFailing(reference, 'not_found');
        await scene.mend(reference);
        return 'not_found with retryAt, then ready';
      });
    },
    CASE_MS,
  );

  it(
    'a name that DNS does not know: says so, and goes on with the others',
    async () => {
      await survive('registry: DNS failure', async () => {
        const { reference } = await scene.newImage();
        const unreachable = `absent.invalid:${await freePort()}/team/app:1.0`;
        await scene.want(unreachable);
        await scene.want(reference);
        await scene.expectReady(reference);
        await scene.seenFailing(unreachable, 'registry_unreachable');
        return 'registry_unreachable; other images become ready';
      });
    },
    CASE_MS,
  );

  it.each([
    ['refuses connections', (socket: Socket) => void socket.destroy()],
    ['something that is no HTTP', (socket: Socket) => void socket.end('SSH-2.0-nothing\r\n')],
    ['a TLS alert, as where TLS is spoken', (socket: Socket) => void socket.end(TLS_ALERT)],
  ])(
    '%s: says so',
    async (fault, answer) => {
      await survive(`registry: ${fault}`, async () => {
        const server = createServer((socket) => {
          socket.on('error', () => undefined);
          answer(socket);
        });
        server.listen(0, '127.0.0.1');
        await once(server, 'listening');
        const broken = `127.0.0.1:${(server.address() as AddressInfo).port}/team/app:1.0`;
        await scene.want(broken);
        const { reason } = await scene.seenFailing(broken, 'registry_unreachable');
        server.close();
        return reason ?? '';
      });
    },
    CASE_MS,
  );
});
