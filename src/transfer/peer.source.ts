import type { Peer } from '../peers/peer-identity.js';
import type { PeerService } from '../peers/peer.service.js';
import type { BlobSource, ByteRange, OpenedRange, WantedBlob } from './blob-source.js';

/** One peer that said it has the whole blob. */
export class PeerSource implements BlobSource {
  readonly kind = 'peer';

  constructor(
    private readonly peers: Pick<PeerService, 'availability' | 'openBlob'>,
    readonly peer: Peer,
  ) {}

  get name(): string {
    return this.peer.node;
  }

  async has(blob: WantedBlob, signal: AbortSignal): Promise<boolean> {
    const answers = await this.peers.availability(this.peer, { blobs: [blob] }, signal);
    const answer = answers.get(blob.digest);
    return answer?.complete === true && answer.size === blob.size;
  }

  open(blob: WantedBlob, { start, end }: ByteRange, signal: AbortSignal): Promise<OpenedRange> {
    const range = end === blob.size ? { start } : { start, end };
    return this.peers.openBlob(this.peer, blob.digest, range, signal);
  }
}
