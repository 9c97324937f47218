import { Inject, Injectable } from '@nestjs/common';

import { AppConfig } from '../config/app-config.js';
import type { Digest } from '../domain/digest.js';
import { formatReference, type ImageReference } from '../domain/image-reference.js';
import { formatPlatform } from '../domain/platform.js';
import type { TagQuestion, TagResolver } from '../mirror/tag-resolver.js';
import { ImageCatalog } from '../store/image-catalog.js';
import { WantedImages } from './wanted-images.js';

/** What tags mean, for images that are wanted and whole in the store. */
@Injectable()
export class CatalogTags implements TagResolver {
  constructor(
    @Inject(AppConfig) private readonly config: AppConfig,
    private readonly wanted: WantedImages,
    private readonly catalog: ImageCatalog,
  ) {}

  digestOf({ registry, repository, tag }: TagQuestion): Promise<Digest | undefined> {
    const matches = ({ reference }: { reference: ImageReference }): boolean =>
      reference.repository === repository &&
      reference.tag === tag &&
      (!registry || reference.registry === registry);
    const images = new Set(
      this.wanted
        .all()
        .filter(matches)
        .map(({ reference }) => formatReference(reference)),
    );
    // Without a registry named, two that have the same repository and tag cannot be told apart.
    const [image, another] = images;
    if (image === undefined || another !== undefined) return Promise.resolve(undefined);
    return Promise.resolve(this.catalog.find(image, formatPlatform(this.config.platform))?.root);
  }
}
