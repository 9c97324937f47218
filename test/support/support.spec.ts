import { execFile } from 'node:child_process';
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { DockerEngine } from './docker-engine.js';
import { DockerRegistry } from './docker-registry.js';
import { describeWith } from './engines.js';
import { writeDockerArchive, writeOciArchive } from './image-archive.js';
import { type BuiltImage, ImageBuilder } from './image-builder.js';
import { pushImage } from './push-image.js';

const MIB = 1024 * 1024;
const exec = promisify(execFile);

describeWith(['dockerd', 'docker-registry', 'skopeo'], 'the test support', () => {
  let builder: ImageBuilder;
  let registry: DockerRegistry;
  let engine: DockerEngine;
  let image: BuiltImage;

  beforeAll(async () => {
    builder = await ImageBuilder.create();
    [registry, engine] = await Promise.all([DockerRegistry.start(), DockerEngine.start()]);
    const single = await builder.image({
      layers: [
        { seed: 'a', sizeBytes: 2 * MIB },
        { seed: 'b', sizeBytes: MIB, compression: 'none' },
        { seed: 'c', sizeBytes: 100_001, files: 3 },
      ],
    });
    image = await builder.index([single], { attestations: true });
    await pushImage(image, registry.url, 'team/app', ['1.0']);
    await registry.forget();
  }, 120_000);

  afterAll(async () => {
    await Promise.all([registry.stop(), engine.stop(), builder.dispose()]);
    await expect(stat(engine.directory)).rejects.toThrow('ENOENT');
  });

  it('builds an image that a real engine pulls, each blob in one answer of its size', async () => {
    const stream = await engine.client.pull(`${registry.host}/team/app:1.0`);
    await new Promise((resolve) => engine.client.modem.followProgress(stream, resolve));
    const { Id } = await engine.client.getImage(`${registry.host}/team/app:1.0`).inspect();
    const [{ config, layers }] = image.images as [BuiltImage['images'][0]];
    expect(Id).toBe(config.digest);
    const traffic = await registry.blobTraffic();
    for (const { digest, size } of [config, ...layers]) {
      expect(traffic.get(digest)).toEqual({ bytes: size, answers: 1 });
    }
  }, 60_000);

  it('writes archives that a real engine and skopeo read', async () => {
    const docker = join(builder.directory, 'docker.tar');
    const oci = join(builder.directory, 'oci.tar');
    await writeDockerArchive(image, docker, ['example.org/loaded:1']);
    await writeOciArchive(image, oci, ['example.org/loaded:1']);
    const loaded = await engine.client.loadImage(docker);
    await new Promise((resolve) => engine.client.modem.followProgress(loaded, resolve));
    const { Id } = await engine.client.getImage('example.org/loaded:1').inspect();
    expect(Id).toBe(image.images[0]?.config.digest);
    const { stdout } = await exec('skopeo', ['inspect', '--raw', `oci-archive:${oci}:example.org/loaded:1`]);
    expect(JSON.parse(stdout)).toHaveProperty('manifests');
    await Promise.all([rm(docker), rm(oci)]);
  }, 60_000);

  it('comes back after a pause and a crash', async () => {
    await registry.pause();
    await expect(fetch(`${registry.url}/v2/`)).rejects.toThrow('fetch failed');
    await registry.resume();
    await engine.kill();
    await expect(engine.client.ping()).rejects.toThrow();
    await engine.resume();
    expect(await engine.client.ping()).toBeTruthy();
  }, 60_000);
});
