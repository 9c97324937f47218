import { Logger } from '@nestjs/common';

import type { ImagePinner } from './image-pinner.js';

/** For runtimes that know no pins. */
export class NoPins implements ImagePinner {
  private readonly logger = new Logger(NoPins.name);
  private warned = false;

  /** @param runtime as the user knows it */
  constructor(private readonly runtime: string) {}

  pin(): Promise<void> {
    if (!this.warned) this.logger.warn({ runtime: this.runtime }, 'PIN_IMAGES has no effect on this runtime');
    this.warned = true;
    return Promise.resolve();
  }

  unpinAllBut(): Promise<void> {
    return Promise.resolve();
  }
}
