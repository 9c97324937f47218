import { Logger } from '@nestjs/common';

import type { Clock } from '../../common/clock.js';
import { becomes } from './becomes.js';
import type { ContainerdClient } from './containerd-client.js';
import { CriImages } from './cri-images.js';
import { type ImageRecord, ImageRecords } from './image-records.js';

/** CRI tells kubelet of this one, from containerd 1.7 on. A pull of the same name takes both away. */
const CRI_LABEL = 'io.cri-containerd.pinned';
const CRI_VALUE = 'pinned';
/** Tells our pins from those of others, which are not ours to take away. */
const OWN_LABEL = 'image-preheat/pinned';
const OWN_VALUE = 'true';
const READ_BACK_MS = 5_000;

/** The pins of images, which are labels on containerd's names. */
export class ImagePins {
  private readonly logger = new Logger(ImagePins.name);
  private readonly records: ImageRecords;
  private readonly cri: CriImages;
  private readBack = false;

  constructor(
    client: ContainerdClient,
    private readonly clock: Clock,
  ) {
    this.records = new ImageRecords(client);
    this.cri = new CriImages(client);
  }

  async pin(names: Iterable<string>, signal: AbortSignal): Promise<void> {
    for (const name of names) {
      const image = await this.records.find(name, signal);
      if (!image || image.labels[CRI_LABEL] === CRI_VALUE) continue;
      const labels = { ...image.labels, [CRI_LABEL]: CRI_VALUE, [OWN_LABEL]: OWN_VALUE };
      if (await this.records.relabel(image, labels, signal)) await this.readBackOnce(name, signal);
    }
  }

  async unpinAllBut(names: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
    for (const image of await this.records.list([`labels."${OWN_LABEL}"==${OWN_VALUE}`], signal))
      if (!names.has(image.name)) await this.records.relabel(image, withoutPin(image.labels), signal);
  }

  /** Whether kubelet gets to know is the same for every image. */
  private async readBackOnce(name: string, signal: AbortSignal): Promise<void> {
    if (this.readBack) return;
    const isPinned = async (): Promise<boolean> => (await this.cri.status(name, signal))?.pinned === true;
    const seen = await becomes(isPinned, READ_BACK_MS, this.clock, signal);
    this.readBack = true;
    if (seen) return;
    this.logger.warn(
      { version: await this.cri.version(signal), image: name },
      'PIN_IMAGES has no effect: this containerd does not tell kubelet of pins (1.7 and later do)',
    );
  }
}

function withoutPin(labels: ImageRecord['labels']): ImageRecord['labels'] {
  return Object.fromEntries(Object.entries(labels).filter(([key]) => key !== CRI_LABEL && key !== OWN_LABEL));
}
