import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { hexOf } from '../../src/domain/digest.js';
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

  describeWith(['containerd'], 'and containerd', () => {
    const started = new Cleanup();
    let engine: ContainerdEngine;

    beforeAll(async () => {
      engine = await started.track(ContainerdEngine.start(), (it) => it.stop());
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
