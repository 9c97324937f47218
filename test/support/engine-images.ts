import { createReadStream } from 'node:fs';

import type { ImageInspectInfo } from 'dockerode';

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
