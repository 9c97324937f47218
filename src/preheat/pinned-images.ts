import { Inject, Injectable, Logger } from '@nestjs/common';

import { AppConfig } from '../config/app-config.js';
import { messageOf } from '../domain/errors.js';
import { ImagePinner } from '../runtime/image-pinner.js';
import type { RuntimeSnapshot } from '../runtime/image-runtime.js';
import { runtimeName, type WantedImage } from './wanted-image.js';
import { WantedImages } from './wanted-images.js';

/** With `PIN_IMAGES`, keeps the images of the list from kubelet's garbage collection, for as long as they are listed. */
@Injectable()
export class PinnedImages {
  private readonly logger = new Logger(PinnedImages.name);
  private readonly isOn: boolean;

  constructor(
    @Inject(AppConfig) config: Pick<AppConfig, 'runtime'>,
    @Inject(ImagePinner) private readonly pinner: ImagePinner,
    private readonly wanted: WantedImages,
  ) {
    this.isOn = config.runtime.pinImages;
  }

  /** Right after it was preheated. Never throws for the runtime's sake: the next check makes up for it. */
  async add(wanted: WantedImage, signal: AbortSignal): Promise<void> {
    if (!this.isOn || !this.wanted.isListed(wanted)) return;
    try {
      await this.pinner.pin([runtimeName(wanted)], signal);
    } catch (error) {
      signal.throwIfAborted();
      this.logger.warn({ image: wanted.image, error: messageOf(error) }, 'an image could not be pinned yet');
    }
  }

  /**
   * Pins again what a re-pull has unpinned, and lets go of what left the list; without `PIN_IMAGES`, of all that an agent
   * before this one has pinned.
   */
  async keep({ images }: RuntimeSnapshot, signal: AbortSignal): Promise<void> {
    const listed = this.isOn ? this.wanted.all().filter((image) => this.wanted.isListed(image)) : [];
    const names = new Set(listed.map(runtimeName));
    const present = [...names].filter((name) => images.has(name));
    if (present.length > 0) await this.pinner.pin(present, signal);
    await this.pinner.unpinAllBut(names, signal);
  }
}
