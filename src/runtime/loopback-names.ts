import { Inject, Injectable } from '@nestjs/common';

import { AppConfig } from '../config/app-config.js';
import { parseImageReference } from '../domain/image-reference.js';
import { ImageRuntime, type RuntimeSnapshot } from './image-runtime.js';

export interface LoopbackSweep {
  /** Names that are gone now. */
  readonly removed: readonly string[];
  /** Names that stayed because they are the last of their image, to the image's id. */
  readonly lastNames: readonly string[];
}

/**
 * The names that pulls from the mirror go by, `127.0.0.1:<MIRROR_PORT>/preheat/…`. A crash between pull and untag leaves
 * one behind.
 */
@Injectable()
export class LoopbackNames {
  constructor(
    @Inject(ImageRuntime) private readonly runtime: ImageRuntime,
    @Inject(AppConfig) private readonly config: AppConfig,
  ) {}

  /** Those of a snapshot, and no other name. */
  in({ images }: RuntimeSnapshot): string[] {
    return [...images.keys()].filter((name) => this.isLoopback(name));
  }

  /**
   * Removes left-over names, except an image's last one: that would delete the image.
   * @param isInUse names of pulls in flight, which are somebody else's to remove; asked right before a removal
   */
  async sweep(isInUse: (name: string) => boolean, signal: AbortSignal): Promise<LoopbackSweep> {
    const snapshot = await this.runtime.list(signal);
    const namesLeft = new Map<string, number>();
    for (const { id } of snapshot.images.values()) namesLeft.set(id, (namesLeft.get(id) ?? 0) + 1);
    const removed: string[] = [];
    const lastNames: string[] = [];
    for (const name of this.in(snapshot)) {
      const id = snapshot.images.get(name)?.id ?? '';
      const left = namesLeft.get(id) ?? 0;
      if (isInUse(name)) continue;
      if (left <= 1) {
        lastNames.push(name);
        continue;
      }
      await this.runtime.untag(name, signal);
      namesLeft.set(id, left - 1);
      removed.push(name);
    }
    return { removed, lastNames };
  }

  private isLoopback(name: string): boolean {
    const { registry, repository } = parseImageReference(name);
    return registry === `127.0.0.1:${this.config.mirrorPort}` && repository.startsWith('preheat/');
  }
}
