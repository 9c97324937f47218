import { Injectable } from '@nestjs/common';

import { formatPlatform } from '../domain/platform.js';
import type { RuntimeHolding, RuntimeView } from '../peers/runtime-view.js';
import type { RuntimeSnapshot } from '../runtime/image-runtime.js';
import { ImageCatalog } from '../store/image-catalog.js';
import { RuntimeInventory } from './runtime-inventory.js';
import { runtimeName, type WantedImage } from './wanted-image.js';
import { WantedImages } from './wanted-images.js';

/** What peers may know of this node's runtime: only images that the list or a request names. */
@Injectable()
export class ListedImages implements RuntimeView {
  constructor(
    private readonly wanted: WantedImages,
    private readonly inventory: RuntimeInventory,
    private readonly catalog: ImageCatalog,
  ) {}

  async present(
    images: readonly string[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, RuntimeHolding>> {
    const snapshot = await this.inventory.snapshot(signal);
    const present = new Map<string, RuntimeHolding>();
    for (const image of images) {
      const wanted = this.wanted.find(image);
      const holding = wanted && this.holdingOf(wanted, snapshot);
      if (holding) present.set(image, holding);
    }
    return present;
  }

  private holdingOf(
    wanted: WantedImage,
    { images, identifiesBy }: RuntimeSnapshot,
  ): RuntimeHolding | undefined {
    const found = images.get(runtimeName(wanted));
    if (!found) return undefined;
    // An export comes from the store where that has the image, and there the name may still mean an earlier one.
    const stored = this.catalog.find(wanted.image, formatPlatform(wanted.platform));
    if (stored && !stored.derived) return { manifest: stored.root };
    return identifiesBy === 'config' ? { config: found.id } : { manifest: found.digest ?? found.id };
  }
}
