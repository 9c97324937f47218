import { Inject, Injectable } from '@nestjs/common';

import { ProgressWatch } from '../common/progress-watch.js';
import { AppConfig } from '../config/app-config.js';
import { PreheatFailure } from '../domain/errors.js';
import { formatPlatform } from '../domain/platform.js';
import { recordKeyOf } from '../lock/image-key.js';
import type { RuntimeSnapshot } from '../runtime/image-runtime.js';
import { TransferService } from '../transfer/transfer.service.js';
import { guardedDirectory } from './guarded-directory.js';
import { ImageLoader } from './image-loader.js';
import { ImageSession } from './image-session.js';
import { Slots } from './slots.js';
import { StatusStore } from './status.store.js';
import { keyOf, type WantedImage } from './wanted-image.js';

@Injectable()
export class ImageSessions {
  constructor(
    @Inject(AppConfig) private readonly config: AppConfig,
    private readonly transfer: TransferService,
    private readonly loader: ImageLoader,
    private readonly slots: Slots,
    private readonly status: StatusStore,
  ) {}

  /** The caller closes it. */
  open(wanted: WantedImage, snapshot: RuntimeSnapshot): ImageSession {
    const { identifiesBy, images } = snapshot;
    const { image, reference, platform, timeoutMs } = wanted;
    const { nodeName, platform: own, runtime } = this.config;
    const runtimeDirectory = guardedDirectory(snapshot, runtime.kind);
    const request = {
      image,
      reference,
      platform,
      native: formatPlatform(platform) === formatPlatform(own),
      identifiesBy,
      isLoaded: (name: string) => images.has(name),
      ...(runtimeDirectory === undefined ? {} : { runtimeDirectory }),
      claimKey: `${recordKeyOf(keyOf(wanted))} ${nodeName}`,
    };
    const watch = new ProgressWatch(timeoutMs, () => {
      return new PreheatFailure('timeout', `less than 1 MiB was verified in ${timeoutMs / 1000} s`);
    });
    const services = {
      transfer: this.transfer,
      loader: this.loader,
      slots: this.slots,
      status: this.status,
    };
    return new ImageSession(wanted, request, watch, services, this.config.pullingDeadlineMs);
  }
}
