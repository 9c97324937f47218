import { Inject, Injectable } from '@nestjs/common';

import { AppConfig } from '../config/app-config.js';
import type { Digest } from '../domain/digest.js';
import { messageOf, PreheatFailure, reasonOf } from '../domain/errors.js';
import { digestName } from '../domain/image-reference.js';
import { MirrorServer, type MirrorSession } from '../mirror/mirror.server.js';
import { ImageRuntime } from '../runtime/image-runtime.js';
import { RepoDigestRestorer } from '../runtime/repo-digest-restorer.js';
import { unnamedMessage } from './unnamed-message.js';
import { Arrivals } from './arrivals.js';
import { DiskGuard } from './disk-guard.js';
import { EarlyPull } from './early-pull.js';
import type { WantedImage } from './wanted-image.js';

/** What the runtime is to pull, and what the reference means. */
export interface LoadSource {
  /** All of its blobs are in the store. */
  readonly root: Digest;
  readonly digest: Digest;
  /** Where the runtime unpacks it, as `guardedDirectory` says. */
  readonly runtimeDirectory?: string | undefined;
}

export type LoadOutcome =
  /** The runtime has it; `message` is what the user should know beside that. */
  | { readonly kind: 'loaded'; readonly message?: string }
  /** The runtime wants more of the index than was brought: engines differ in that. */
  | { readonly kind: 'incomplete'; readonly missing: readonly Digest[]; readonly cause: unknown };

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
    private readonly guard: DiskGuard,
  ) {
    this.restoring = config.runtime.restoreRepoDigests;
  }

  /** Lets the runtime begin with an image of which `arrivals` are still on their way. The caller ends it. */
  begin(root: Digest, arrivals: Arrivals, runtimeDirectory?: string): EarlyPull {
    return new EarlyPull(root, arrivals, this.guard.over(runtimeDirectory), this.mirror);
  }

  /**
   * @param begun a pull of the same root that began early
   * @throws PreheatFailure as the runtime and `DiskGuard` do, unless it is for the lack of a manifest
   */
  async load(
    wanted: WantedImage,
    source: LoadSource,
    signal: AbortSignal,
    onProgress: () => void,
    begun?: EarlyPull,
  ): Promise<LoadOutcome> {
    const pulled = await begun?.finish(signal, onProgress);
    if (pulled !== undefined) return this.loaded(wanted, pulled, source, signal);
    const session = this.mirror.open(source.root);
    try {
      await this.guard.over(source.runtimeDirectory).pull(session.name, signal, onProgress);
      return await this.loaded(wanted, session.name, source, signal);
    } catch (cause) {
      signal.throwIfAborted();
      if (session.missing.size === 0) throw diverted(cause, session);
      return { kind: 'incomplete', missing: [...session.missing], cause };
    } finally {
      session.close();
    }
  }

  private async loaded(
    wanted: WantedImage,
    loopbackName: string,
    { digest }: LoadSource,
    signal: AbortSignal,
  ): Promise<LoadOutcome> {
    const isNamed = await this.name(wanted, loopbackName, digest, signal);
    return { kind: 'loaded', ...(isNamed ? {} : { message: unnamedMessage(this.restoring) }) };
  }

  /**
   * The real name first, the loopback name away after: an image that loses its last name is deleted.
   * @returns whether the runtime knows the image by all the names it is to have
   */
  private async name(
    { image, reference }: WantedImage,
    loopbackName: string,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<boolean> {
    if (reference.digest !== undefined) {
      const isNamed = await this.restorer.restoreLocally(digestName(reference, digest), signal);
      if (isNamed) await this.runtime.untag(loopbackName, signal);
      return isNamed;
    }
    await this.runtime.tag(loopbackName, image, signal);
    await this.runtime.untag(loopbackName, signal);
    return this.restoring !== 'always' || this.restorer.restoreLocally(digestName(reference, digest), signal);
  }
}

/** A pull that never came to our mirror went somewhere else, and what is said there is no explanation. */
function diverted(cause: unknown, { wasAsked }: MirrorSession): unknown {
  if (wasAsked || reasonOf(cause, 'runtime_error') !== 'runtime_error') return cause;
  return new PreheatFailure(
    'runtime_error',
    "the runtime did not come to the agent's mirror on 127.0.0.1: a setting sends its pulls elsewhere (for containerd a " +
      `certs.d/_default/hosts.toml), or the agent is not in the network of the host; it says: ${messageOf(cause)}`,
    { cause },
  );
}
