import { basename } from 'node:path';

import { z } from 'zod';

import type { ContainerdClient } from './containerd-client.js';

const SERVICE = 'runtime.v1.ImageService';

const criImage = z.object({
  id: z.string(),
  repoTags: z.array(z.string()),
  repoDigests: z.array(z.string()),
  pinned: z.boolean(),
});
/** An image as kubelet sees it. `id` is the digest of its config. */
export type CriImage = z.infer<typeof criImage>;

const fileSystems = z.object({
  imageFilesystems: z.array(z.object({ fsId: z.object({ mountpoint: z.string() }).nullable() })),
});

/** containerd's image service for kubelet. It keeps a list of its own, which follows containerd's with a short delay. */
export class CriImages {
  constructor(private readonly client: ContainerdClient) {}

  async list(signal: AbortSignal): Promise<readonly CriImage[]> {
    const answer = z.object({ images: z.array(criImage) });
    return (await this.client.ask({ service: SERVICE, method: 'ListImages', request: {} }, answer, signal))
      .images;
  }

  /** Undefined when kubelet would pull it. @param name as a Pod would have it, or an id */
  async status(name: string, signal: AbortSignal): Promise<CriImage | undefined> {
    const call = { service: SERVICE, method: 'ImageStatus', request: { image: { image: name } } };
    const { image } = await this.client.ask(call, z.object({ image: criImage.nullable() }), signal);
    return image ?? undefined;
  }

  /** Resolves when the image is unpacked. Aborting cancels the pull, and containerd drops what it had of it. */
  async pull(name: string, signal: AbortSignal): Promise<void> {
    await this.client.wait(
      { service: SERVICE, method: 'PullImage', request: { image: { image: name } } },
      signal,
    );
  }

  /** The directory of the snapshotter that images are unpacked into; undefined when containerd does not say. */
  async snapshotDirectory(signal: AbortSignal): Promise<string | undefined> {
    const call = { service: SERVICE, method: 'ImageFsInfo', request: {} };
    const { imageFilesystems } = await this.client.ask(call, fileSystems, signal);
    return imageFilesystems[0]?.fsId?.mountpoint;
  }

  async version(signal: AbortSignal): Promise<string> {
    const call = { service: 'runtime.v1.RuntimeService', method: 'Version', request: {} };
    return (await this.client.ask(call, z.object({ runtimeVersion: z.string() }), signal)).runtimeVersion;
  }
}

/** The snapshotter's name, of its directory `…/io.containerd.snapshotter.v1.<name>`. */
export function snapshotterOf(directory: string): string {
  return /^io\.containerd\.snapshotter\.v1\.(.+)$/.exec(basename(directory))?.[1] ?? 'overlayfs';
}
