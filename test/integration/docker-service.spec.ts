import { buffer } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';

import type { TestingModule } from '@nestjs/testing';

import { ImageRuntime } from '../../src/runtime/image-runtime.js';
import { RepoDigestRestorer } from '../../src/runtime/repo-digest-restorer.js';
import { DockerEngine } from '../support/docker-engine.js';
import { describeWith } from '../support/engines.js';
import { ImageBuilder } from '../support/image-builder.js';
import { runtimeModule } from '../support/runtime-of.js';
import { TestMirror } from '../support/test-mirror.js';

const MIB = 1024 * 1024;
const { signal } = new AbortController();

describeWith('dockerd', 'DockerService on a daemon that dies, and with credentials', () => {
  let builder: ImageBuilder;
  let engine: DockerEngine;
  let mirror: TestMirror;
  let module: TestingModule;
  let runtime: ImageRuntime;

  beforeAll(async () => {
    builder = await ImageBuilder.create();
    [engine, mirror] = await Promise.all([DockerEngine.start(), TestMirror.start()]);
    const credentials = { [mirror.host]: { username: 'user', password: 'secret' } };
    module = await runtimeModule({ kind: 'docker', dockerHost: engine.host, credentials });
    runtime = module.get<ImageRuntime>(ImageRuntime);
  }, 60_000);
  afterAll(() => Promise.all([engine.stop(), mirror.stop(), builder.dispose()]), 60_000);

  it('breaks an export visibly when dockerd is killed in the middle of it, and goes on with the next one', async () => {
    const image = await builder.image({
      layers: [{ seed: 'export', sizeBytes: 32 * MIB, compressible: 0.9 }],
    });
    mirror.add(image);
    const name = `${mirror.host}/preheat/n@${image.root.digest}`;
    await runtime.pull(name, signal);
    await runtime.tag(name, 'example.org/export:1', signal);
    const stream = await runtime.export('example.org/export:1', signal);
    await stream[Symbol.asyncIterator]().next();
    await engine.kill();
    await expect(buffer(stream)).rejects.toThrow();
    await expect(runtime.list(signal)).rejects.toMatchObject({ reason: 'runtime_unreachable' });
    await engine.resume();
    expect((await runtime.list(signal)).images.has('example.org/export:1')).toBe(true);
  }, 60_000);

  it('fails when dockerd is killed in the middle of a pull', async () => {
    const image = await builder.image({ layers: [{ seed: 'pull', sizeBytes: MIB }] });
    const layer = image.images[0]!.layers[0]!.digest;
    mirror.add(image);
    mirror.faults.set(layer, 'hangs');
    const name = `${mirror.host}/preheat/n@${image.root.digest}`;
    const failed = expect(runtime.pull(name, signal)).rejects.toMatchObject({
      reason: 'runtime_unreachable',
    });
    while (!mirror.requests.some((request) => request.endsWith(layer))) await delay(10);
    await engine.kill();
    await failed;
    mirror.faults.clear();
    await engine.resume();
    expect([...(await runtime.list(signal)).images.keys()]).not.toContain(name);
    await runtime.pull(name, signal);
  }, 60_000);

  it('restores a digest from a registry that wants a password, asking for the manifest alone', async () => {
    const image = await builder.image({ layers: [{ seed: 'private', sizeBytes: MIB }] });
    mirror.add(image);
    await runtime.pull(`${mirror.host}/preheat/n@${image.root.digest}`, signal);
    mirror.requests.length = 0;
    mirror.credentials = 'user:secret';
    const name = `${mirror.host}/private/app@${image.root.digest}`;
    await module.get<RepoDigestRestorer>(RepoDigestRestorer).restore(name, signal);
    expect(new Set(mirror.requests.map((request) => request.replace(/^(?:HEAD|GET) /, '')))).toEqual(
      new Set([`private/app ${image.root.digest}`]),
    );
    expect((await runtime.list(signal)).images.get(name)?.id).toBe(image.images[0]!.config.digest);
    mirror.credentials = 'user:changed';
    const other = `${mirror.host}/private/other@${image.root.digest}`;
    await expect(
      module.get<RepoDigestRestorer>(RepoDigestRestorer).restore(other, signal),
    ).rejects.toMatchObject({ reason: expect.stringMatching(/not_found|unauthorized/) as string });
  }, 60_000);
});
