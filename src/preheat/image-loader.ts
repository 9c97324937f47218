import { Inject, Injectable } from '@nestjs/common';

import { AppConfig } from '../config/app-config.js';
import type { Digest } from '../domain/digest.js';
import { messageOf } from '../domain/errors.js';
import { digestName } from '../domain/image-reference.js';
import { MirrorServer } from '../mirror/mirror.server.js';
import { ImageRuntime } from '../runtime/image-runtime.js';
import { RepoDigestRestorer } from '../runtime/repo-digest-restorer.js';
import type { WantedImage } from './wanted-image.js';

/** What the runtime is to pull, and what the reference means. */
export interface LoadSource {
  /** All of its blobs are in the store. */
  readonly root: Digest;
  readonly digest: Digest;
  /** Fetches what else the runtime asks for: engines differ in which parts of an index they want. */
  readonly include: (digest: Digest, signal: AbortSignal) => Promise<void>;
}

/**
 * The last step: the runtime pulls the image from our mirror, by digest, and only then gets its real name. Nothing
 * that the runtime has not taken whole ever has a real name.
 */
@Injectable()
export class ImageLoader {
  private readonly restoring: AppConfig['runtime']['restoreRepoDigests'];

  constructor(
    @Inject(AppConfig) config: AppConfig,
    @Inject(ImageRuntime) private readonly runtime: ImageRuntime,
    @Inject(RepoDigestRestorer) private readonly restorer: RepoDigestRestorer,
    private readonly mirror: MirrorServer,
  ) {
    this.restoring = config.runtime.restoreRepoDigests;
  }

  /** @returns what the user should know beside `ready`, if anything */
  async load(
    wanted: WantedImage,
    source: LoadSource,
    signal: AbortSignal,
    onProgress: () => void,
  ): Promise<string | undefined> {
    for (let retried = false; ; retried = true) {
      const session = this.mirror.open(source.root);
      try {
        await this.runtime.pull(session.name, signal, onProgress);
        return await this.name(wanted, session.name, source.digest, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (retried || session.missing.size === 0) throw error;
        for (const digest of session.missing) await source.include(digest, signal);
      } finally {
        session.close();
      }
    }
  }

  /**
   * Makes `registry/repository@digest` resolve in the runtime, where it has the image under another name.
   * @returns why it does not, if so
   */
  async restore(wanted: WantedImage, digest: Digest, signal: AbortSignal): Promise<string | undefined> {
    if (this.restoring === 'never')
      return 'the image is there, but not by its digest: RESTORE_REPO_DIGESTS is never';
    try {
      await this.restorer.restore(digestName(wanted.reference, digest), signal);
      return undefined;
    } catch (error) {
      signal.throwIfAborted();
      return `the image is there, but not yet by its digest: ${messageOf(error)}`;
    }
  }

  /** The real name first, the loopback name away after: an image that loses its last name is deleted. */
  private async name(
    wanted: WantedImage,
    loopbackName: string,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    if (wanted.reference.digest !== undefined) {
      const message = await this.restore(wanted, digest, signal);
      if (message === undefined) await this.runtime.untag(loopbackName, signal);
      return message;
    }
    await this.runtime.tag(loopbackName, wanted.image, signal);
    await this.runtime.untag(loopbackName, signal);
    return this.restoring === 'always' ? this.restore(wanted, digest, signal) : undefined;
  }
}
