import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { promisify } from 'node:util';

import { AgentCluster } from '../support/agent-cluster.js';
import { Cleanup } from '../support/cleanup.js';
import { DockerEngine } from '../support/docker-engine.js';
import { DockerRegistry } from '../support/docker-registry.js';
import { canCreate, namesIn, plainPull } from '../support/engine-images.js';
import { describeWith } from '../support/engines.js';
import { type BuiltImage, ImageBuilder } from '../support/image-builder.js';
import { pushImage } from '../support/push-image.js';

const MIB = 1024 * 1024;
const READY_MS = 120_000;
const exec = promisify(execFile);

describeWith(
  ['dockerd', 'docker-registry', 'docker', 'curl'],
  "An image that only one node's Docker has",
  () => {
    const cleanup = new Cleanup();
    let registry: DockerRegistry;
    let owner: DockerEngine;
    let receiver: DockerEngine;
    let user: DockerEngine;
    let cluster: AgentCluster;
    let image: BuiltImage;
    let reference: string;
    let absent: string;
    let unlisted: string;
    let id: string;

    beforeAll(async () => {
      registry = await cleanup.track(DockerRegistry.start(), (started) => started.stop());
      const builder = await cleanup.track(ImageBuilder.create(), (started) => started.dispose());
      [owner, receiver, user] = (await Promise.all(
        [1, 2, 3].map(() => cleanup.track(DockerEngine.start(), (engine) => engine.stop())),
      )) as [DockerEngine, DockerEngine, DockerEngine];
      image = await builder.image({
        layers: [1, 2, 3].map((index) => ({
          seed: `runtime-only-${index}`,
          sizeBytes: 20 * MIB,
          compressible: 0.2,
        })),
      });
      await pushImage(image, registry.url, 'team/app', ['1.0', 'unlisted']);
      reference = `${registry.host}/team/app:1.0`;
      unlisted = `${registry.host}/team/app:unlisted`;
      absent = `${registry.host}/team/absent:1.0`;
      ({ Id: id } = await plainPull(owner, reference));
      await plainPull(owner, unlisted);
      await registry.forget();
      cluster = await cleanup.track(
        AgentCluster.prepare([owner, receiver].map(({ host }) => ({ RUNTIME: 'docker', DOCKER_HOST: host }))),
        (started) => started.dispose(),
      );
      await cluster.list(reference, absent);
      // The owner first: a node that does not answer yet has nothing for anybody.
      cluster.agents[0]!.start();
      await cluster.agents[0]!.until(reference, 'ready', READY_MS);
      cluster.agents[1]!.start();
    }, READY_MS);

    afterAll(() => cleanup.run(), 60_000);

    it(
      "goes to another node from that peer's runtime, and no layer leaves the registry",
      async () => {
        const [first, second] = cluster.agents;
        expect((await first!.until(reference, 'ready', READY_MS)).bytesTotal).toBe(0);
        await second!.until(reference, 'ready', READY_MS);
        expect(await second!.metric('peer_fetch_total', `image="${reference}",peer="node-1"`)).toBe(1);

        expect((await receiver.client.getImage(reference).inspect()).Id).toBe(id);
        expect(await namesIn(receiver)).toEqual([reference]);
        expect(await canCreate(receiver, reference)).toBe(true);
        const traffic = await registry.blobTraffic();
        for (const { digest } of image.images[0]!.layers) expect(traffic.has(digest)).toBe(false);
      },
      READY_MS,
    );

    it.each([
      ['its runtime', 0],
      ['its store', 1],
    ])(
      'is downloaded from %s into a Docker of no agent',
      async (_, index) => {
        const [command, ...args] = curl(index, reference);
        const pipe = `"$0" "$@" | docker --host ${user.host} load`;
        await exec('bash', ['-c', `set -o pipefail; ${pipe}`, command!, ...args]);
        expect((await user.client.getImage(reference).inspect()).Id).toBe(id);
        expect(await canCreate(user, reference)).toBe(true);
        await user.client.getImage(reference).remove();
      },
      READY_MS,
    );

    it.each([
      ['that no node has', () => absent],
      ['that the list does not name, though the runtime has it', () => unlisted],
    ])('answers 404 in JSON for an image %s', async (_, name) => {
      const response = await download(0, name());
      expect(response.status).toBe(404);
      expect(await response.json()).toMatchObject({ statusCode: 404, code: 'IMAGE_NOT_FOUND' });
    });

    it('refuses the fifth download at once with 429 and Retry-After, and takes the next when one has ended', async () => {
      const agent = cluster.agents[1]!;
      const readers: Socket[] = [];
      try {
        for (let index = 0; index < 4; index++) readers.push(await startReader(agent.port));
        const refused = await download(1, reference);
        expect(refused.status).toBe(429);
        expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
        expect(await refused.json()).toMatchObject({ statusCode: 429, code: 'TOO_MANY_DOWNLOADS' });
      } finally {
        for (const reader of readers) reader.destroy();
      }
      await agent.wait('taking downloads again', 10_000, async () => {
        const response = await download(1, reference);
        await response.body?.cancel();
        return response.status === 200 || undefined;
      });
    }, 60_000);

    it('breaks the connection when Docker dies in the middle of its export', async () => {
      const { body } = await download(0, reference);
      let bytes = 0;
      const reading = (async () => {
        for await (const piece of body as AsyncIterable<Uint8Array>) {
          if (bytes === 0) await owner.kill();
          bytes += piece.length;
        }
      })();
      await expect(reading).rejects.toThrow();
      expect(bytes).toBeGreaterThan(0);
      expect(bytes).toBeLessThan(60 * MIB);
      expect((await cluster.agents[0]!.get('/health')).status).toBe(200);
      await owner.resume();
    }, 60_000);

    function downloadUrl(index: number, name: string): string {
      return `${cluster.agents[index]!.url}/images/download?image=${encodeURIComponent(name)}`;
    }

    function download(index: number, name: string): Promise<Response> {
      return fetch(downloadUrl(index, name), { headers: cluster.authorization });
    }

    function curl(index: number, name: string): string[] {
      const { Authorization } = cluster.authorization;
      return [
        'curl',
        '--silent',
        '--show-error',
        '--fail',
        '-H',
        `Authorization: ${Authorization}`,
        downloadUrl(index, name),
      ];
    }

    /** A download whose head has come and whose body nobody reads. */
    async function startReader(port: number): Promise<Socket> {
      const socket = createConnection({ port, host: '127.0.0.1' });
      const path = `/images/download?image=${encodeURIComponent(reference)}`;
      socket.write(
        `GET ${path} HTTP/1.1\r\nHost: agent\r\nAuthorization: ${cluster.authorization.Authorization}\r\n\r\n`,
      );
      await once(socket, 'readable');
      return socket;
    }
  },
);
