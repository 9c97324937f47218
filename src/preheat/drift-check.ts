import { Injectable, Logger } from '@nestjs/common';

import { type Digest, isDigest } from '../domain/digest.js';
import { messageOf } from '../domain/errors.js';
import { MAX_MANIFEST_BYTES, parseManifest, selectManifest } from '../domain/manifest.js';
import type { Platform } from '../domain/platform.js';
import type { ImageKey } from '../lock/image-key.js';
import { LockService } from '../lock/lock.service.js';
import type { RuntimeImage } from '../runtime/image-runtime.js';
import { BlobStore } from '../store/blob-store.js';
import { ImageCatalog } from '../store/image-catalog.js';
import { StatusStore } from './status.store.js';
import { keyOf, type WantedImage } from './wanted-image.js';

/** What a reference means, as far as this node knows, and whether the runtime has something else under its name. */
export interface Meaning {
  readonly digest?: Digest;
  /** Absent where it cannot be told without asking anyone. */
  readonly drift?: boolean;
}

/** Tells whether what the runtime has under a name is what the cluster's record says the name means. Asks nobody. */
@Injectable()
export class DriftCheck {
  private readonly logger = new Logger(DriftCheck.name);

  constructor(
    private readonly store: BlobStore,
    private readonly catalog: ImageCatalog,
    private readonly lock: LockService,
    private readonly status: StatusStore,
  ) {}

  /** Goes by the record where one was read, else by what this node got itself. Never throws. */
  async meaningOf(wanted: WantedImage, found: RuntimeImage): Promise<Meaning> {
    const { image, reference, platform } = wanted;
    const digest = reference.digest ?? this.lock.known(keyOf(wanted)).digest ?? this.ownDigest(keyOf(wanted));
    if (digest === undefined) return {};
    try {
      const drift = await this.hasDrifted(found, digest, platform);
      return drift === undefined ? { digest } : { digest, drift };
    } catch (error) {
      this.logger.debug({ image, digest, error: messageOf(error) }, 'drift cannot be told');
      return { digest };
    }
  }

  /** What the name meant when this node got the image. */
  private ownDigest(key: ImageKey): Digest | undefined {
    const shown = this.status.get(key)?.digest;
    return shown !== undefined && isDigest(shown) ? shown : this.catalog.find(key.image, key.platform)?.root;
  }

  private async hasDrifted(
    found: RuntimeImage,
    recorded: Digest,
    platform: Platform,
  ): Promise<boolean | undefined> {
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
