import { Injectable } from '@nestjs/common';

import type { Digest } from '../domain/digest.js';
import { MAX_MANIFEST_BYTES, parseManifest, selectManifest } from '../domain/manifest.js';
import type { Platform } from '../domain/platform.js';
import type { RuntimeImage } from '../runtime/image-runtime.js';
import { BlobStore } from '../store/blob-store.js';

/** Tells whether what the runtime has under a name is what the cluster's record says the name means. */
@Injectable()
export class DriftCheck {
  constructor(private readonly store: BlobStore) {}

  /** @returns undefined when it cannot be told without asking anyone */
  async hasDrifted(found: RuntimeImage, recorded: Digest, platform: Platform): Promise<boolean | undefined> {
    if (found.digest !== undefined)
      return found.digest !== recorded && found.digest !== (await this.manifestOf(recorded, platform));
    const config = await this.configOf(recorded, platform);
    return config === undefined ? undefined : found.id !== config;
  }

  /** This platform's manifest, of an index that is in the store. */
  private async manifestOf(root: Digest, platform: Platform): Promise<Digest | undefined> {
    const bytes = await this.store.readBytes(root, MAX_MANIFEST_BYTES);
    const parsed = bytes && parseManifest(bytes);
    return parsed?.kind === 'index' ? selectManifest(parsed, platform).digest : undefined;
  }

  private async configOf(root: Digest, platform: Platform): Promise<Digest | undefined> {
    const digest = (await this.manifestOf(root, platform)) ?? root;
    const bytes = await this.store.readBytes(digest, MAX_MANIFEST_BYTES);
    const parsed = bytes && parseManifest(bytes);
    return parsed?.kind === 'manifest' ? parsed.config.digest : undefined;
  }
}
