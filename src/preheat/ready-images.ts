import { Inject, Injectable } from '@nestjs/common';

import { AppConfig } from '../config/app-config.js';
import type { Digest } from '../domain/digest.js';
import { digestName } from '../domain/image-reference.js';
import { formatPlatform } from '../domain/platform.js';
import type { RuntimeSnapshot } from '../runtime/image-runtime.js';
import { LoopbackNames } from '../runtime/loopback-names.js';
import { RepoDigestRestorer } from '../runtime/repo-digest-restorer.js';
import { ImageCatalog } from '../store/image-catalog.js';
import { DriftCheck, type Meaning } from './drift-check.js';
import { StatusStore } from './status.store.js';
import { unnamedMessage } from './unnamed-message.js';
import { keyOf, runtimeName, type WantedImage } from './wanted-image.js';

/** How much of a wanted image the runtime has. */
export type Presence =
  | { readonly kind: 'missing' }
  | { readonly kind: 'ready' }
  /** Ready, but not by `digest`, which only its registry can change. */
  | { readonly kind: 'unnamed'; readonly digest: Digest };

/** Tells which wanted images the runtime has already, and says so. */
@Injectable()
export class ReadyImages {
  private readonly restoring: AppConfig['runtime']['restoreRepoDigests'];

  constructor(
    @Inject(AppConfig) config: Pick<AppConfig, 'runtime'>,
    private readonly status: StatusStore,
    private readonly catalog: ImageCatalog,
    private readonly drift: DriftCheck,
    private readonly loopbackNames: LoopbackNames,
    @Inject(RepoDigestRestorer) private readonly restorer: RepoDigestRestorer,
  ) {
    this.restoring = config.runtime.restoreRepoDigests;
  }

  async recognise(wanted: WantedImage, snapshot: RuntimeSnapshot, signal: AbortSignal): Promise<Presence> {
    const found = snapshot.images.get(runtimeName(wanted));
    const { digest } = wanted.reference;
    if (!found) {
      return digest !== undefined && this.isUnderLoopbackName(wanted, digest, snapshot)
        ? this.readyBy(wanted, digest, { digest }, signal)
        : { kind: 'missing' };
    }
    const meaning = await this.drift.meaningOf(wanted, found);
    const lacking = this.lackingDigest(wanted, meaning, snapshot);
    if (lacking) return this.readyBy(wanted, lacking, meaning, signal);
    this.status.enter(keyOf(wanted), 'ready', meaning);
    return { kind: 'ready' };
  }

  private async readyBy(
    wanted: WantedImage,
    digest: Digest,
    meaning: Meaning,
    signal: AbortSignal,
  ): Promise<Presence> {
    const isNamed = await this.restorer.restoreLocally(digestName(wanted.reference, digest), signal);
    const message = isNamed ? {} : { message: unnamedMessage(this.restoring) };
    this.status.enter(keyOf(wanted), 'ready', { ...meaning, ...message });
    return isNamed || this.restoring === 'never' ? { kind: 'ready' } : { kind: 'unnamed', digest };
  }

  /** A digest entry that classic Docker has under the name of its pull alone: what was pulled may be a part, or derived. */
  private isUnderLoopbackName(
    { image, platform }: WantedImage,
    digest: Digest,
    snapshot: RuntimeSnapshot,
  ): boolean {
    const stored = this.catalog.find(image, formatPlatform(platform));
    const parts = stored?.root === digest ? stored.blobs.map((blob) => blob.digest) : [];
    const pulled = new Set([digest, ...parts]);
    return this.loopbackNames
      .in(snapshot)
      .some((name) => [...pulled].some((part) => name.endsWith(`@${part}`)));
  }

  /** Only what is known not to have drifted: by another digest Docker would pull another image, all of it. */
  private lackingDigest(
    { reference }: WantedImage,
    { digest, drift }: Meaning,
    { identifiesBy, images }: RuntimeSnapshot,
  ): Digest | undefined {
    if (this.restoring !== 'always' || identifiesBy !== 'config' || reference.digest) return undefined;
    if (digest === undefined || drift !== false) return undefined;
    return images.has(digestName(reference, digest)) ? undefined : digest;
  }
}
