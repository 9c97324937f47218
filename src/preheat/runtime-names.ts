import { Injectable } from '@nestjs/common';

import { MirrorServer } from '../mirror/mirror.server.js';
import type { RuntimeSnapshot } from '../runtime/image-runtime.js';
import { LoopbackNames } from '../runtime/loopback-names.js';
import { PinnedImages } from './pinned-images.js';

/** What is put in order among the runtime's names at every check: those that pulls left over, and pins. */
@Injectable()
export class RuntimeNames {
  constructor(
    private readonly loopbackNames: LoopbackNames,
    private readonly mirror: MirrorServer,
    private readonly pinned: PinnedImages,
  ) {}

  /** Takes left-over names of pulls away, where the image has another one. */
  async sweep(signal: AbortSignal): Promise<void> {
    await this.loopbackNames.sweep((name) => this.mirror.isInUse(name), signal);
  }

  async tidy(snapshot: RuntimeSnapshot, signal: AbortSignal): Promise<void> {
    if (this.loopbackNames.in(snapshot).length > 0) await this.sweep(signal);
    await this.pinned.keep(snapshot, signal);
  }
}
