import { Injectable } from '@nestjs/common';

import type { RuntimeView } from '../peers/runtime-view.js';
import { RuntimeInventory } from './runtime-inventory.js';
import { runtimeName } from './wanted-image.js';
import { WantedImages } from './wanted-images.js';

/** What peers may know of this node's runtime: only images that the list or a request names. */
@Injectable()
export class ListedImages implements RuntimeView {
  constructor(
    private readonly wanted: WantedImages,
    private readonly inventory: RuntimeInventory,
  ) {}

  async present(images: readonly string[]): Promise<readonly string[]> {
    const { images: there } = await this.inventory.snapshot();
    return images.filter((image) => {
      const wanted = this.wanted.find(image);
      return wanted !== undefined && there.has(runtimeName(wanted));
    });
  }
}
