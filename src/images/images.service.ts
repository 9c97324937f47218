import { Inject, Injectable } from '@nestjs/common';

import { AppConfig } from '../config/app-config.js';
import { formatReference, type ImageReference, parseImageReference } from '../domain/image-reference.js';
import { ImageListService } from '../image-list/image-list.service.js';
import { PreheatScheduler } from '../preheat/preheat.scheduler.js';
import { PreheatService } from '../preheat/preheat.service.js';
import { RuntimeInventory } from '../preheat/runtime-inventory.js';
import { StatusStore } from '../preheat/status.store.js';
import type { WantedImage } from '../preheat/wanted-image.js';
import { WantedImages } from '../preheat/wanted-images.js';
import { registryNotAllowed } from './image-errors.js';
import type { ImageCheckDto, ImagesDto } from './images.dto.js';

/** What the API says of this node's images, and the requests it takes for more. */
@Injectable()
export class ImagesService {
  constructor(
    @Inject(AppConfig) private readonly config: AppConfig,
    private readonly list: ImageListService,
    private readonly wanted: WantedImages,
    private readonly status: StatusStore,
    private readonly inventory: RuntimeInventory,
    private readonly preheat: PreheatService,
    private readonly scheduler: PreheatScheduler,
  ) {}

  overview(): ImagesDto {
    const { invalidLines } = this.list.snapshot;
    return { node: this.config.nodeName, images: [...this.status.list()], invalidLines: [...invalidLines] };
  }

  /** The wanted image that `text` refers to. @throws InvalidInputError `INVALID_REFERENCE` */
  find(text: string): { readonly image: string; readonly wanted: WantedImage | undefined } {
    const image = formatReference(parseImageReference(text));
    return { image, wanted: this.wanted.find(image) };
  }

  /** @throws InvalidInputError, PreheatFailure `runtime_unreachable` */
  async check(text: string, signal: AbortSignal): Promise<ImageCheckDto> {
    const { image, wanted } = this.find(text);
    const found = wanted && (await this.inventory.find(wanted, signal));
    if (!found) return { image, exists: false };
    return { image, exists: true, id: found.id, ...(found.digest ? { digest: found.digest } : {}) };
  }

  /** All or none: one bad reference, or one registry that may not be named, refuses the request. */
  request(texts: readonly string[]): string[] {
    const references = texts.map(parseImageReference);
    for (const reference of references) this.assertAllowed(reference);
    this.preheat.request(references);
    this.scheduler.trigger();
    return references.map(formatReference);
  }

  private assertAllowed({ registry }: ImageReference): void {
    const allowed =
      this.config.access.allowedRegistries.includes(registry) ||
      this.list.snapshot.entries.some(({ reference }) => reference.registry === registry);
    if (!allowed) throw registryNotAllowed(registry);
  }
}
