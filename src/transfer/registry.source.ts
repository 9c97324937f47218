import { anySignal } from '../common/abort.js';
import { PreheatFailure } from '../domain/errors.js';
import { type ImageReference } from '../domain/image-reference.js';
import type { Lease } from '../lock/lease.js';
import type { RegistryClient } from '../registry/registry-client.js';
import type { BlobSource, ByteRange, OpenedRange, WantedBlob } from './blob-source.js';

/** The registry of one image, open only as long as this node holds the image's lease. */
export class RegistrySource implements BlobSource {
  readonly kind = 'registry';

  constructor(
    private readonly client: RegistryClient,
    private readonly reference: ImageReference,
    private readonly lease: Lease,
  ) {}

  get name(): string {
    return this.reference.registry;
  }

  has(): Promise<boolean> {
    return Promise.resolve(this.lease.mayReadRegistry());
  }

  async open(blob: WantedBlob, { start, end }: ByteRange, signal: AbortSignal): Promise<OpenedRange> {
    if (!this.lease.mayReadRegistry()) {
      throw new PreheatFailure('lock_unavailable', 'the lock was lost or could not be renewed in time');
    }
    const leased = anySignal(signal, this.lease.signal);
    const range = end === blob.size ? { start } : { start, end };
    const { size, stream, ...sent } = await this.client.blob(this.reference, blob.digest, range, leased);
    if (size !== blob.size) {
      stream.destroy();
      throw new PreheatFailure(
        'corrupt',
        `the registry has ${size} bytes of ${blob.digest}; its manifest says ${blob.size}`,
      );
    }
    return { ...sent, stream };
  }
}
