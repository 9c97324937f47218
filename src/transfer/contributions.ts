import type { Digest } from '../domain/digest.js';
import { farthest, type Source } from '../domain/preheat-state.js';
import type { BlobSource } from './blob-source.js';

interface PeerShare {
  readonly startedMs: number;
  endedMs: number;
}

/**
 * Who gave what to one image: for its `source`, for the metrics, and to tell who is to blame when a blob turns out
 * wrong. A blob that several sources wrote and that fails its digest blames nobody; it is fetched again from one
 * source alone, and then there is no doubt.
 */
export class Contributions {
  private readonly byBlob = new Map<Digest, Set<string>>();
  private readonly alone = new Set<Digest>();
  private readonly peers = new Map<string, PeerShare>();
  private farthestSource: Source = 'store';

  get source(): Source {
    return this.farthestSource;
  }

  /** Node names of the peers that gave bytes, with how long each took, in milliseconds. */
  peerDurations(): [peer: string, durationMs: number][] {
    return [...this.peers].map(([peer, { startedMs, endedMs }]) => [peer, endedMs - startedMs]);
  }

  add(digest: Digest, source: Pick<BlobSource, 'kind' | 'name'>, startedMs: number, endedMs: number): void {
    this.farthestSource = farthest(this.farthestSource, source.kind);
    const names = this.byBlob.get(digest) ?? new Set();
    this.byBlob.set(digest, names.add(`${source.kind} ${source.name}`));
    if (source.kind !== 'peer') return;
    const share = this.peers.get(source.name) ?? { startedMs, endedMs };
    share.endedMs = endedMs;
    this.peers.set(source.name, share);
  }

  /** True if the blob must come from one source from its first byte to its last. */
  mustComeAlone(digest: Digest): boolean {
    return this.alone.has(digest);
  }

  /** The blob failed its digest. @returns true when its last contributor was the only one, and thus is to blame */
  blame(digest: Digest): boolean {
    const single = this.byBlob.get(digest)?.size === 1;
    this.byBlob.delete(digest);
    this.alone.add(digest);
    return single;
  }
}
