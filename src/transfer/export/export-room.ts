import type { Digest } from '../../domain/digest.js';
import { MEDIA_TYPES } from '../../domain/manifest.js';
import type { WantedBlob } from '../blob-source.js';
import { distinctBlobs, totalBytes } from '../image-plan.js';
import { unpackedBytes } from '../unpacked-size.js';

/**
 * Room in the store for the uncompressed layers of an export. Their digests are known, their sizes only when they come:
 * it begins with what such layers take as a rule, and grows before anything is written that would not fit.
 */
export class ExportRoom {
  private readonly estimates: readonly WantedBlob[];
  private readonly estimatedBytes: number;
  private reservedBytes = 0;
  private takenBytes = 0;
  private factor = 1;

  /**
   * @param layers as the manifest names them, in the order of `diffIds`
   * @param pin pins these blobs, and these alone; throws when there is no room
   */
  constructor(
    layers: readonly WantedBlob[],
    diffIds: readonly Digest[],
    private readonly pin: (blobs: readonly WantedBlob[]) => Promise<void>,
  ) {
    this.estimates = distinctBlobs(
      diffIds.map((digest, index) => {
        const layer = layers[index];
        return { digest, size: layer ? unpackedBytes(layer) : 0, mediaType: MEDIA_TYPES.ociLayer };
      }),
    );
    this.estimatedBytes = Math.max(1, totalBytes(this.estimates));
  }

  /** @throws PreheatFailure `store_full`, `insufficient_disk` */
  async open(): Promise<void> {
    await this.pin(this.estimates);
    this.reservedBytes = this.estimatedBytes;
  }

  /** Awaited before a layer of `sizeBytes` is written. @throws PreheatFailure `store_full`, `insufficient_disk` */
  async admit(sizeBytes: number): Promise<void> {
    const neededBytes = this.takenBytes + sizeBytes;
    if (neededBytes > this.reservedBytes) {
      this.factor = Math.max(2 * this.factor, Math.ceil(neededBytes / this.estimatedBytes));
      await this.pin(this.estimates.map((layer) => ({ ...layer, size: layer.size * this.factor })));
      this.reservedBytes = this.estimatedBytes * this.factor;
    }
    this.takenBytes = neededBytes;
  }
}
