import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { type Digest, digestOf, hexOf } from '../../src/domain/digest.js';
import { MEDIA_TYPES } from '../../src/domain/manifest.js';
import { AgentCluster } from '../support/agent-cluster.js';
import { AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { ContainerdEngine } from '../support/containerd-engine.js';
import { DockerRegistry } from '../support/docker-registry.js';
import { describeWith } from '../support/engines.js';
import { type BuiltImage, ImageBuilder } from '../support/image-builder.js';
import { pushImage } from '../support/push-image.js';

const MIB = 1024 * 1024;
const SETUP_MS = 120_000;
const run = promisify(execFile);

interface SkopeoInspection {
  readonly Digest: string;
  readonly Layers: readonly string[];
}

/** The `/v2` API on `PORT`, read by programs that know nothing of this project. */
describeWith(['docker-registry', 'skopeo'], 'The /v2 API of an agent', () => {
  const cleanup = new Cleanup();
  let image: BuiltImage;
  let reference: string;
  let guarded: AgentProcess;
  let token: string;
  /** Listens on loopback with `PEER_AUTH=none`, where nobody needs a token. */
  let open: AgentProcess;

  beforeAll(async () => {
    const registry = await cleanup.track(DockerRegistry.start(), (started) => started.stop());
    const builder = await cleanup.track(ImageBuilder.create(), (made) => made.dispose());
    const layer = (seed: string) => ({ seed, sizeBytes: 2 * MIB, compressible: 0.3 });
    image = await builder.index(
      [
        await builder.image({ layers: ['one', 'two', 'three'].map(layer) }),
        await builder.image({ layers: [layer('one')], platform: { os: 'linux', architecture: 's390x' } }),
      ],
      { attestations: true },
    );
    await pushImage(image, registry.url, 'team/app', ['1.0']);
    reference = `${registry.host}/team/app:1.0`;

    const cluster = await cleanup.track(AgentCluster.prepare([{ RUNTIME: 'directory' }]), (made) =>
      made.dispose(),
    );
    [guarded] = cluster.agents as [AgentProcess];
    token = cluster.apiToken;
    open = await cleanup.track(
      AgentProcess.prepare({ node: 'open', environment: { RUNTIME: 'directory', PEER_AUTH: 'none' } }),
      (agent) => agent.dispose(),
    );
    for (const agent of [guarded, open]) {
      await agent.list(reference);
      agent.start();
    }
    await Promise.all([guarded, open].map((agent) => agent.until(reference, 'ready', SETUP_MS)));
    // What was not fetched cannot be served: from here on the agents are all there is.
    await registry.pause();
  }, SETUP_MS);

  afterAll(() => cleanup.run(), 60_000);

  const named = (agent: AgentProcess, suffix: string): string =>
    `docker://${agent.address}/team/app${suffix}`;

  it('is inspected by skopeo, by tag and by digest, with the API token alone', async () => {
    const inspect = async (suffix: string, ...options: string[]): Promise<SkopeoInspection> => {
      const args = ['inspect', '--no-tags', '--tls-verify=false', ...options, named(guarded, suffix)];
      return JSON.parse((await run('skopeo', args)).stdout) as SkopeoInspection;
    };
    const expected = {
      Digest: image.root.digest,
      Layers: image.images[0]!.layers.map(({ digest }) => digest),
    };
    expect(await inspect(':1.0', '--registry-token', token)).toMatchObject(expected);
    expect(await inspect(`@${image.root.digest}`, '--registry-token', token)).toMatchObject(expected);
    await expect(inspect(':1.0')).rejects.toThrow(/image-preheat|unauthorized|401/i);
    await expect(inspect(':1.0', '--registry-token', `${token}0`)).rejects.toThrow(/unauthorized|401/i);
    await expect(inspect(':2.0', '--registry-token', token)).rejects.toThrow(/manifest unknown|404/i);
  }, 60_000);

  it('is copied from by skopeo, with every byte as it was', async () => {
    for (const [index, suffix] of [':1.0', `@${image.root.digest}`].entries()) {
      const target = join(guarded.directory, `copy-${index}`);
      const options = ['--src-registry-token', token, '--src-tls-verify=false', '--preserve-digests'];
      await run('skopeo', ['copy', ...options, named(guarded, suffix), `dir:${target}`]);
      const { manifest, config, layers } = image.images[0]!;
      const copied = [config, ...layers].map(({ digest }) => [hexOf(digest), hexOf(digest)] as const);
      for (const [name, hex] of [...copied, ['manifest.json', hexOf(manifest.digest)] as const]) {
        const bytes = await readFile(join(target, name));
        expect([name, bytes.equals(await readFile(join(image.directory, hex)))]).toEqual([name, true]);
      }
    }
  }, 60_000);

  /** The points of the pull part of the distribution specification's own conformance suite, which runs outside. */
  describe('and the distribution specification', () => {
    const repository = '/v2/team/app';
    const absent = digestOf(Buffer.from('nobody has this'));
    const ask = (path: string, init: RequestInit = {}): Promise<Response> =>
      fetch(`${open.url}${path}`, init);
    const fileOf = ({ digest }: { readonly digest: Digest }): Promise<Buffer> =>
      readFile(join(image.directory, hexOf(digest)));
    const contentOf = async (answer: Response): Promise<Buffer> => Buffer.from(await answer.arrayBuffer());

    it('is found at /v2/', async () => {
      expect((await ask('/v2/')).status).toBe(200);
    });

    it('gives HEAD and GET of a manifest its type, length and digest, by tag and by digest', async () => {
      const single = image.images[0]!.manifest;
      for (const [name, manifest] of [
        ['1.0', image.root],
        [image.root.digest, image.root],
        [single.digest, single],
      ] as const) {
        const bytes = await fileOf(manifest);
        for (const method of ['HEAD', 'GET']) {
          const answer = await ask(`${repository}/manifests/${name}`, { method });
          expect([method, name, answer.status]).toEqual([method, name, 200]);
          expect(Object.fromEntries(answer.headers)).toMatchObject({
            'content-type': manifest.mediaType,
            'content-length': String(bytes.length),
            'docker-content-digest': manifest.digest,
          });
          expect(await contentOf(answer)).toEqual(method === 'GET' ? bytes : Buffer.alloc(0));
        }
      }
    });

    it('gives HEAD and GET of a blob its length and digest', async () => {
      const { config, layers } = image.images[0]!;
      for (const blob of [config, ...layers]) {
        const bytes = await fileOf(blob);
        for (const method of ['HEAD', 'GET']) {
          const answer = await ask(`${repository}/blobs/${blob.digest}`, { method });
          expect(answer.status).toBe(200);
          expect(Object.fromEntries(answer.headers)).toMatchObject({
            'content-length': String(bytes.length),
            'docker-content-digest': blob.digest,
          });
          expect((await contentOf(answer)).equals(method === 'GET' ? bytes : Buffer.alloc(0))).toBe(true);
        }
      }
    });

    it.each([
      ['from the middle', () => 'bytes=500-1499', () => [500, 1500]],
      ['to the end', () => 'bytes=500-', (size: number) => [500, size]],
      ['of the last bytes', () => 'bytes=-500', (size: number) => [size - 500, size]],
      [
        'beyond the end',
        (size: number) => `bytes=${size - 48}-${size + 99}`,
        (size: number) => [size - 48, size],
      ],
    ] as const)('gives a range of a blob %s', async (_which, header, part) => {
      const layer = image.images[0]!.layers[0]!;
      const bytes = await fileOf(layer);
      const [start, end] = part(bytes.length) as [number, number];
      const answer = await ask(`${repository}/blobs/${layer.digest}`, {
        headers: { range: header(bytes.length) },
      });
      expect(answer.status).toBe(206);
      expect(answer.headers.get('content-range')).toBe(`bytes ${start}-${end - 1}/${bytes.length}`);
      expect(answer.headers.get('content-length')).toBe(String(end - start));
      expect((await contentOf(answer)).equals(bytes.subarray(start, end))).toBe(true);
    });

    it.each([
      ['ends before it begins', () => 'bytes=500-0'],
      ['begins behind the end', (size: number) => `bytes=${size + 99}-${size + 199}`],
    ])('answers 416 to a range that %s', async (_which, header) => {
      const layer = image.images[0]!.layers[0]!;
      const range = header((await fileOf(layer)).length);
      expect((await ask(`${repository}/blobs/${layer.digest}`, { headers: { range } })).status).toBe(416);
    });

    it('lists no referrers, of what it has and of what it has not', async () => {
      for (const digest of [image.root.digest, absent]) {
        const answer = await ask(`${repository}/referrers/${digest}`);
        expect([answer.status, answer.headers.get('content-type')]).toEqual([200, MEDIA_TYPES.ociIndex]);
        expect(await answer.json()).toEqual({
          schemaVersion: 2,
          mediaType: MEDIA_TYPES.ociIndex,
          manifests: [],
        });
      }
    });

    it.each([
      ['a manifest that it has not got', `manifests/${absent}`],
      ['a tag that nobody listed', 'manifests/2.0'],
      ['a digest that is none', 'manifests/sha256:baddigeststring'],
      ['a blob that it has not got', `blobs/${absent}`],
    ])('answers 404 to %s, with an error of the specification', async (_what, path) => {
      const answer = await ask(`${repository}/${path}`);
      expect(answer.status).toBe(404);
      expect(await answer.json()).toMatchObject({
        errors: [
          { code: expect.stringMatching(/_UNKNOWN$/) as string, message: expect.any(String) as string },
        ],
      });
    });
  });

  describeWith(['containerd'], 'and containerd', () => {
    const started = new Cleanup();
    let engine: ContainerdEngine;

    beforeAll(async () => {
      engine = await started.track(ContainerdEngine.start({ withoutCri: true }), (it) => it.stop());
    }, SETUP_MS);
    afterAll(() => started.run(), 60_000);

    it('is pulled from by ctr, by tag and by digest', async () => {
      const names = [`${open.address}/team/app:1.0`, `${open.address}/team/app@${image.root.digest}`];
      for (const name of names) await engine.ctr(['images', 'pull', '--plain-http', name]);
      expect(await engine.images()).toEqual(
        names.map((name) => ({ name, target: image.root.digest })).sort((a, b) => (a.name < b.name ? -1 : 1)),
      );
      expect(await engine.ctr(['images', 'check'])).toMatch(/complete \(4\/4\)/);
      await expect(
        engine.ctr(['images', 'pull', '--plain-http', `${open.address}/team/app:2.0`]),
      ).rejects.toThrow(/not found/);
    }, 60_000);
  });
});
