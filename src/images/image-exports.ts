import type { Readable } from 'node:stream';

import { Inject, Injectable } from '@nestjs/common';

import { AppConfig } from '../config/app-config.js';
import { PreheatFailure } from '../domain/errors.js';
import { formatPlatform } from '../domain/platform.js';
import { RuntimeInventory } from '../preheat/runtime-inventory.js';
import { runtimeName, type WantedImage } from '../preheat/wanted-image.js';
import { ImageRuntime } from '../runtime/image-runtime.js';
import { BlobStore } from '../store/blob-store.js';
import { ImageCatalog } from '../store/image-catalog.js';
import { imageTar, imageTarSize } from './tar/image-tar.js';
import { planImageTar } from './tar/image-tar-plan.js';

export interface ImageExport {
  readonly stream: Readable;
  /** Known when the store has the image. */
  readonly sizeBytes?: number;
}

/** An image of this node as one tar: from the store where it is complete, else as the runtime exports it. */
@Injectable()
export class ImageExports {
  private active = 0;

  constructor(
    @Inject(AppConfig) private readonly config: AppConfig,
    private readonly store: BlobStore,
    private readonly catalog: ImageCatalog,
    private readonly inventory: RuntimeInventory,
    @Inject(ImageRuntime) private readonly runtime: ImageRuntime,
  ) {}

  /** A place among the downloads, to be left once; undefined when `DOWNLOAD_API_CONCURRENCY` are taken. */
  tryEnter(): (() => void) | undefined {
    if (this.active >= this.config.limits.downloadConcurrency) return undefined;
    this.active += 1;
    let entered = true;
    return () => {
      if (entered) this.active -= 1;
      entered = false;
    };
  }

  /** @returns undefined when neither has it. @throws PreheatFailure `runtime_unreachable`, `runtime_error` */
  async open(wanted: WantedImage, signal: AbortSignal): Promise<ImageExport | undefined> {
    const stored = await this.fromStore(wanted, signal);
    if (stored) return stored;
    if (!(await this.inventory.find(wanted))) return undefined;
    return { stream: await this.runtime.export(runtimeName(wanted), signal) };
  }

  private async fromStore(
    { image, platform }: WantedImage,
    signal: AbortSignal,
  ): Promise<ImageExport | undefined> {
    const known = this.catalog.find(image, formatPlatform(platform));
    if (!known) return undefined;
    try {
      const files = await planImageTar(image, platform, known.derived ?? known.root, this.store);
      return { stream: imageTar(files, this.store, signal), sizeBytes: imageTarSize(files) };
    } catch (error) {
      // Evicted or deleted meanwhile: the runtime still has it.
      if (error instanceof PreheatFailure && error.reason === 'no_source') return undefined;
      throw error;
    }
  }
}
