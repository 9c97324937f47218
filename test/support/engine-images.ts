import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';

import type { ImageInspectInfo } from 'dockerode';
import { extract } from 'tar-stream';

import { type Digest, digestOf } from '../../src/domain/digest.js';
import type { DockerEngine } from './docker-engine.js';

/** What a user's own `docker pull` does. */
export async function plainPull(engine: DockerEngine, reference: string): Promise<ImageInspectInfo> {
  const stream = await engine.client.pull(reference);
  await new Promise<void>((resolve, reject) => {
    engine.client.modem.followProgress(stream, (error: Error | null) => (error ? reject(error) : resolve()));
  });
  return engine.client.getImage(reference).inspect();
}

/** Every tag and digest that the engine lists, of dangling images `<none>:<none>`; sorted. */
export async function namesIn(engine: DockerEngine): Promise<string[]> {
  const images = await engine.client.listImages({ all: true, digests: true });
  return images
    .flatMap(({ RepoTags, RepoDigests }) => {
      const names = [...(RepoTags ?? []), ...(RepoDigests ?? [])].filter(
        (name) => !name.startsWith('<none>'),
      );
      return names.length > 0 ? names : ['<none>:<none>'];
    })
    .sort();
}

/** Whether an image is whole enough to make a container of it. */
export async function canCreate(engine: DockerEngine, name: string): Promise<boolean> {
  const container = await engine.client.createContainer({ Image: name, Cmd: ['/none'] });
  await container.remove();
  return true;
}

/** `docker load`. */
export async function loadImage({ client }: DockerEngine, file: string): Promise<void> {
  const stream = await client.loadImage(createReadStream(file));
  await new Promise<void>((resolve, reject) => {
    client.modem.followProgress(stream, (error: Error | null) => (error ? reject(error) : resolve()));
  });
}

/**
 * Hashes what the engine has of an image: its config, and every layer as the engine reads it back from its own disk for
 * `docker save`. The same bytes that were unpacked give the diffIDs that the config names.
 * @param config digest that its config must have
 * @returns digests whose bytes are others or not there
 */
export async function wrongPartsIn(engine: DockerEngine, name: string, config: Digest): Promise<Digest[]> {
  const digests = new Map<string, Digest>();
  const documents = new Map<string, Buffer>();
  const entries = extract();
  const saved = pipeline(await engine.client.getImage(name).get(), entries);
  for await (const entry of entries) {
    const hash = createHash('sha256');
    const parts: Buffer[] = [];
    for await (const part of entry as AsyncIterable<Buffer>) {
      hash.update(part);
      if (entry.header.name.endsWith('.json')) parts.push(part);
    }
    digests.set(entry.header.name, `sha256:${hash.digest('hex')}`);
    documents.set(entry.header.name, Buffer.concat(parts));
  }
  await saved;
  const manifest = documents.get('manifest.json')?.toString() ?? '[]';
  const [image] = JSON.parse(manifest) as { Config: string; Layers: string[] }[];
  const configBytes = documents.get(image?.Config ?? '') ?? Buffer.alloc(0);
  const isConfig = digestOf(configBytes) === config;
  if (!image || !isConfig) return [config];
  const { rootfs } = JSON.parse(configBytes.toString()) as { rootfs: { diff_ids: Digest[] } };
  return rootfs.diff_ids.filter((diffId, index) => digests.get(image.Layers[index] ?? '') !== diffId);
}
