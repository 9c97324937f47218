import { Injectable } from '@nestjs/common';

import { isDigest } from '../domain/digest.js';
import { formatPlatform } from '../domain/platform.js';
import type { RuntimeSnapshot } from '../runtime/image-runtime.js';
import { LoopbackNames } from '../runtime/loopback-names.js';
import { ImageCatalog } from '../store/image-catalog.js';
import { DriftCheck } from './drift-check.js';
import { ImageLoader } from './image-loader.js';
import { StatusStore } from './status.store.js';
import { keyOf, runtimeName, type WantedImage } from './wanted-image.js';

/** Tells which wanted images the runtime has already, and says so. */
@Injectable()
export class ReadyImages {
  constructor(
    private readonly status: StatusStore,
    private readonly catalog: ImageCatalog,
    private readonly drift: DriftCheck,
    private readonly loader: ImageLoader,
    private readonly loopbackNames: LoopbackNames,
  ) {}

  /** @returns false when the image is missing */
  async recognise(wanted: WantedImage, snapshot: RuntimeSnapshot, signal: AbortSignal): Promise<boolean> {
    const found = snapshot.images.get(runtimeName(wanted));
    if (!found) return this.recogniseUnnamed(wanted, snapshot, signal);
    const known =
      this.status.get(keyOf(wanted))?.digest ??
      this.catalog.find(wanted.image, formatPlatform(wanted.platform))?.root;
    const drifted =
      known !== undefined && isDigest(known)
        ? await this.drift.hasDrifted(found, known, wanted.platform)
        : undefined;
    this.status.enter(keyOf(wanted), 'ready', {
      ...(known === undefined ? {} : { digest: known }),
      ...(drifted === undefined ? {} : { drift: drifted }),
    });
    return true;
  }

  /** A digest entry that classic Docker has under its loopback name alone: ready, and tried again to be named. */
  private async recogniseUnnamed(
    wanted: WantedImage,
    snapshot: RuntimeSnapshot,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { digest } = wanted.reference;
    if (digest === undefined || !this.loopbackNames.in(snapshot).some((name) => name.endsWith(`@${digest}`)))
      return false;
    const message = await this.loader.restore(wanted, digest, signal);
    this.status.enter(keyOf(wanted), 'ready', { digest, ...(message === undefined ? {} : { message }) });
    return true;
  }
}
