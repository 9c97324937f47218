import type { Readable } from 'node:stream';

import { Inject, Injectable } from '@nestjs/common';

import { AppConfig } from '../config/app-config.js';
import { PreheatFailure } from '../domain/errors.js';
import { formatPlatform } from '../domain/platform.js';
import { RuntimeInventory } from '../preheat/runtime-inventory.js';
import type { WantedImage } from '../preheat/wanted-image.js';
import { BlobStore } from '../store/blob-store.js';
import { ImageCatalog } from '../store/image-catalog.js';
import { StoreSpace } from '../store/store-space.js';
import { RuntimeExporter } from './runtime-exporter.js';
import { imageTar, imageTarSize } from '../common/tar/image-tar.js';
import { planImageTar } from '../common/tar/image-tar-plan.js';

/** An image that can be exported. Nothing is read before it is opened. */
export interface ImageExport {
  /** Known when the store has the image. */
  readonly sizeBytes?: number;
  readonly open: (signal: AbortSignal) => Promise<Readable>;
  /** Keeps what is being read in the store for another while. */
  readonly touch: () => void;
}

/** An image of this node as one tar: from the store where it is complete, else as the runtime exports it. */
@Injectable()
export class ImageExports {
  private active = 0;

  constructor(
    @Inject(AppConfig) private readonly config: AppConfig,
    private readonly store: BlobStore,
    private readonly catalog: ImageCatalog,
    private readonly space: StoreSpace,
    private readonly inventory: RuntimeInventory,
    private readonly exporter: RuntimeExporter,
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
  async find(wanted: WantedImage, signal: AbortSignal): Promise<ImageExport | undefined> {
    const stored = await this.inStore(wanted);
    if (stored) return stored;
    if (!(await this.inventory.find(wanted, signal))) return undefined;
    return { open: (opened) => this.exporter.open(wanted, opened), touch: () => undefined };
  }

  private async inStore({ image, platform }: WantedImage): Promise<ImageExport | undefined> {
    const known = this.catalog.find(image, formatPlatform(platform));
    if (!known) return undefined;
    // Images are evicted whole: one blob that was asked for holds all of them.
    const touch = (): void => this.space.touch(known.root);
    touch();
    try {
      const files = await planImageTar(image, platform, known.derived ?? known.root, this.store);
      const open = (signal: AbortSignal): Promise<Readable> =>
        Promise.resolve(imageTar(files, this.store, signal));
      return { sizeBytes: imageTarSize(files), open, touch };
    } catch (error) {
      // Evicted or deleted meanwhile: the runtime still has it.
      if (error instanceof PreheatFailure && error.reason === 'no_source') return undefined;
      throw error;
    }
  }
}
