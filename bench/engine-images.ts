import type { DockerEngine } from '../test/support/docker-engine.js';

/** `docker pull`. */
export async function pullImage({ client }: DockerEngine, reference: string): Promise<void> {
  const output = await client.pull(reference);
  await new Promise<void>((resolve, reject) =>
    client.modem.followProgress(output, (error) => (error ? reject(error) : resolve())),
  );
}

/** `docker rmi --force` of everything it has. */
export async function removeImages({ client }: DockerEngine): Promise<void> {
  for (const { Id } of await client.listImages()) await client.getImage(Id).remove({ force: true });
}
