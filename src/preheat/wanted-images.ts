import { Inject, Injectable } from '@nestjs/common';

import { AppConfig } from '../config/app-config.js';
import { InvalidInputError } from '../domain/errors.js';
import { formatReference, type ImageReference } from '../domain/image-reference.js';
import { formatPlatform } from '../domain/platform.js';
import { ImageListService } from '../image-list/image-list.service.js';
import { isSameImage, type WantedImage } from './wanted-image.js';

/** Requests that are remembered; finished ones make room for new ones. */
const MAX_REQUESTS = 1000;

/** What this node is to have: its list, and what was asked for by request. Nobody may ask about anything else. */
@Injectable()
export class WantedImages {
  private requests: WantedImage[] = [];

  constructor(
    @Inject(AppConfig) private readonly config: AppConfig,
    private readonly list: ImageListService,
  ) {}

  /** By priority; of an image that is both listed and requested the list's entry counts. */
  all(): readonly WantedImage[] {
    const listed = this.listed();
    const requested = this.requests.filter((request) => !listed.some((entry) => isSameImage(entry, request)));
    return [...listed, ...requested].sort((left, right) => right.priority - left.priority);
  }

  listed(): WantedImage[] {
    return this.list.snapshot.entries.map(({ image, reference, platform, priority, timeoutMs }) => {
      return { image, reference, platform, priority, timeoutMs: timeoutMs ?? this.config.pullingTimeoutMs };
    });
  }

  /** The wanted image of this canonical name; the node's own platform first. */
  find(image: string): WantedImage | undefined {
    const found = this.all().filter((wanted) => wanted.image === image);
    const own = formatPlatform(this.config.platform);
    return found.find(({ platform }) => formatPlatform(platform) === own) ?? found[0];
  }

  isListed(wanted: WantedImage): boolean {
    return this.listed().some((entry) => isSameImage(entry, wanted));
  }

  /**
   * Remembers a request.
   * @param isFinished tells which earlier requests may be forgotten
   * @throws InvalidInputError `TOO_MANY_REQUESTED_IMAGES`
   */
  request(references: readonly ImageReference[], isFinished: (wanted: WantedImage) => boolean): void {
    const added = references.map((reference): WantedImage => {
      const { platform, pullingTimeoutMs } = this.config;
      return {
        image: formatReference(reference),
        reference,
        platform,
        priority: 0,
        timeoutMs: pullingTimeoutMs,
      };
    });
    let kept = this.requests.filter((request) => !added.some((other) => isSameImage(other, request)));
    for (const request of kept) {
      if (kept.length + added.length <= MAX_REQUESTS) break;
      if (isFinished(request)) kept = kept.filter((other) => other !== request);
    }
    if (kept.length + added.length > MAX_REQUESTS) {
      throw new InvalidInputError(
        'TOO_MANY_REQUESTED_IMAGES',
        `${kept.length} requested images are not ready yet; ${MAX_REQUESTS} are accepted at a time`,
      );
    }
    this.requests = [...kept, ...added];
  }
}
