import type { Readable } from 'node:stream';

import { Inject, Injectable } from '@nestjs/common';

import { errnoOf } from '../../common/errno.js';
import { AppConfig } from '../../config/app-config.js';
import type { Digest } from '../../domain/digest.js';
import { AppError, InvalidInputError, messageOf, PreheatFailure } from '../../domain/errors.js';
import { parseImageReference } from '../../domain/image-reference.js';
import { CoalescedCall } from '../coalesced-call.js';
import type { ImagePinner } from '../image-pinner.js';
import type { ImageRuntime, RuntimeImage, RuntimeSnapshot } from '../image-runtime.js';
import { NoPins } from '../no-pins.js';
import type { RepoDigestRestorer } from '../repo-digest-restorer.js';
import { LayoutBlobs } from './layout-blobs.js';
import { exportLayout } from './layout-export.js';
import { digestsOf, type LayoutImage, readImage } from './layout-image.js';
import { type LayoutEntry, LayoutIndex } from './layout-index.js';
import { pullIntoLayout } from './layout-pull.js';
import { MirrorClient } from './mirror-client.js';

/**
 * An OCI image layout in place of a container runtime (`RUNTIME_DIR`): for machines without one, the demo and tests. It
 * pulls, names and exports as an engine does, and what has no name any more is removed. One process owns the directory.
 */
@Injectable()
export class DirectoryRuntime implements ImageRuntime, RepoDigestRestorer, ImagePinner {
  private readonly blobs: LayoutBlobs;
  private readonly index: LayoutIndex;
  private readonly listing = new CoalescedCall((signal) => this.readImages(signal));
  private readonly pins = new NoPins('directory');
  private swept: Promise<void> | undefined;
  /** Pulls in flight: their blobs belong to no name yet. */
  private pulling = 0;
  private collecting: Promise<void> = Promise.resolve();

  constructor(@Inject(AppConfig) private readonly config: AppConfig) {
    this.blobs = new LayoutBlobs(config.runtime.directory);
    this.index = new LayoutIndex(config.runtime.directory);
  }

  list(signal: AbortSignal): Promise<RuntimeSnapshot> {
    return this.attempt(() => this.listing.run(signal), signal);
  }

  pull(name: string, signal: AbortSignal, onProgress?: () => void): Promise<void> {
    return this.attempt(async () => {
      const reference = parseImageReference(name);
      const root = reference.digest;
      if (root === undefined)
        throw new InvalidInputError('INVALID_REFERENCE', `"${name}" has no digest: tags are not pulled`);
      this.pulling++;
      try {
        await this.collecting;
        await this.sweepOnce();
        const mirror = new MirrorClient(reference);
        const { platform } = this.config;
        const entry = await pullIntoLayout(root, platform, mirror, this.blobs, signal, onProgress);
        await this.rename((names) => names.set(name, entry));
      } finally {
        this.pulling--;
      }
    }, signal);
  }

  tag(source: string, target: string, signal: AbortSignal): Promise<void> {
    return this.attempt(async () => {
      parseImageReference(target);
      await this.rename((names) => {
        const entry = names.get(source);
        if (!entry) throw new PreheatFailure('runtime_error', `there is no image ${source} to tag`);
        names.set(target, entry);
      });
      await this.collectGarbage();
    }, signal);
  }

  untag(name: string, signal: AbortSignal): Promise<void> {
    return this.attempt(async () => {
      await this.rename((names) => names.delete(name));
      await this.collectGarbage();
    }, signal);
  }

  export(name: string, signal: AbortSignal): Promise<Readable> {
    return this.attempt(async () => {
      const entry = (await this.index.read()).get(name);
      const image = entry && (await this.completeImage(entry.digest));
      if (!image) throw new PreheatFailure('not_found', `there is no image ${name}`);
      return exportLayout(name, image, this.blobs, signal);
    }, signal);
  }

  /** Unlike Docker, a layout gives any name to what it has. */
  async restoreLocally(name: string, signal: AbortSignal): Promise<boolean> {
    await this.restore(name, signal);
    return true;
  }

  restore(name: string, signal: AbortSignal): Promise<void> {
    return this.attempt(async () => {
      const { digest } = parseImageReference(name);
      await this.rename((names) => {
        const entry = [...names.values()].find((known) => known.digest === digest);
        if (!entry) throw new PreheatFailure('runtime_error', `there is no image to be known as ${name}`);
        names.set(name, entry);
      });
    }, signal);
  }

  pin(): Promise<void> {
    return this.pins.pin();
  }

  unpinAllBut(): Promise<void> {
    return this.pins.unpinAllBut();
  }

  private async readImages(signal: AbortSignal): Promise<RuntimeSnapshot> {
    const images = new Map<string, RuntimeImage>();
    for (const [name, { digest }] of await this.index.read()) {
      signal.throwIfAborted();
      if (await this.completeImage(digest)) images.set(name, { id: digest, digest });
    }
    return { identifiesBy: 'manifest', images, rootDirectory: this.config.runtime.directory };
  }

  private async rename(edit: (names: Map<string, LayoutEntry>) => void): Promise<void> {
    await this.index.change(edit);
    this.listing.separate();
  }

  /** What an earlier process left half written goes before the first pull of this one. */
  private async sweepOnce(): Promise<void> {
    const sweep = (this.swept ??= this.blobs.sweep());
    try {
      await sweep;
    } catch (error) {
      this.swept = undefined;
      throw error;
    }
  }

  /** The image, if it is one for this platform and all its blobs are there in their full sizes. */
  private async completeImage(root: Digest): Promise<LayoutImage | undefined> {
    const read = readImage(root, this.config.platform, (digest) => this.blobs.readManifest(digest));
    const image = await read.catch((error: unknown) => {
      if (error instanceof AppError) return undefined;
      throw error;
    });
    if (!image) return undefined;
    for (const { digest, size } of [image.manifest.config, ...image.manifest.layers]) {
      if ((await this.blobs.sizeOf(digest)) !== size) return undefined;
    }
    return image;
  }

  /** Removes blobs that no name leads to. While something is pulled nothing is removed; a later change makes up for it. */
  private async collectGarbage(): Promise<void> {
    const turn = this.collecting.then(async () => {
      if (this.pulling > 0) return;
      const roots = new Set([...(await this.index.read()).values()].map(({ digest }) => digest));
      const images = await Promise.all([...roots].map((root) => this.completeImage(root)));
      await this.blobs.keepOnly(new Set(images.flatMap((image) => (image ? digestsOf(image) : []))));
    });
    this.collecting = turn.catch(() => undefined);
    await turn;
  }

  private async attempt<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    try {
      signal.throwIfAborted();
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof AppError ? error : directoryFailure(error, this.config.runtime.directory);
    }
  }
}

function directoryFailure(cause: unknown, directory: string): PreheatFailure {
  const code = errnoOf(cause);
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new PreheatFailure('insufficient_disk', `no space left in ${directory}`, { cause });
  return new PreheatFailure('runtime_unreachable', `${directory} cannot be used: ${messageOf(cause)}`, {
    cause,
  });
}
