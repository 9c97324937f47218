import PQueue from 'p-queue';

import type { Digest } from '../domain/digest.js';
import type { Peer } from '../peers/peer-identity.js';
import type { PeerService } from '../peers/peer.service.js';
import type { BlobBringer } from './blob-bringer.js';
import type { BlobSource, WantedBlob } from './blob-source.js';
import type { Flights } from './flights.js';
import { PeerSource } from './peer.source.js';
import type { ImageSwarm } from './swarm/image-swarm.js';

/** Whole blobs, from archives or from one source alone, at a time. */
const STREAMS = 4;

export interface WholeBlobsParts {
  readonly peers: Pick<PeerService, 'availability' | 'openBlob'>;
  readonly flights: Flights;
  readonly swarm: Pick<ImageSwarm, 'blobOf' | 'complete'>;
  readonly bringer: Pick<BlobBringer, 'bring' | 'isExcluded'>;
}

/** The blobs of one image that come as a whole: from an archive, or since they failed their digest when several gave them. */
export class WholeBlobs {
  private readonly underWay = new Set<Digest>();
  private readonly queue = new PQueue({ concurrency: STREAMS });

  /** @param onBrought awaited with every blob that is in the store */
  constructor(
    private readonly parts: WholeBlobsParts,
    private readonly onBrought: (digest: Digest) => Promise<void>,
  ) {}

  has(digest: Digest): boolean {
    return this.underWay.has(digest);
  }

  /** A peer that has all of it, and has not failed for it too often. */
  peerWithAll(blob: WantedBlob): Peer | undefined {
    const { swarm, bringer } = this.parts;
    return swarm.complete(blob.digest).find(({ node }) => !bringer.isExcluded(blob, node));
  }

  /**
   * From a single source that has all of it: then there is no doubt who sent what.
   * @param origin to be read where no peer has it
   * @returns undefined when there is no source, or it is on its way otherwise
   */
  bringAlone(
    blob: WantedBlob,
    origin: BlobSource | undefined,
    signal: AbortSignal,
  ): Promise<void> | undefined {
    if (this.parts.swarm.blobOf(blob.digest) || this.parts.flights.has(blob.digest)) return undefined;
    const peer = this.peerWithAll(blob);
    const source = peer ? new PeerSource(this.parts.peers, peer) : origin;
    return source && this.bring(blob, source, signal);
  }

  /** @throws PreheatFailure when no other source would help */
  async bring(blob: WantedBlob, source: BlobSource, signal: AbortSignal): Promise<void> {
    this.underWay.add(blob.digest);
    try {
      const brought = await this.queue.add(() => this.parts.bringer.bring(blob, source, signal));
      if (brought) await this.onBrought(blob.digest);
    } finally {
      this.underWay.delete(blob.digest);
    }
  }
}
