import type { ChunkMap } from '../../domain/chunk-map.js';
import type { Digest } from '../../domain/digest.js';
import type { PartialBlob } from '../../store/partial-blob.js';
import type { BlobSource, WantedBlob } from '../blob-source.js';
import type { WantedChunks } from './swarm-view.js';

/** Who gave a chunk: what is needed to name or to blame him. */
export type Giver = Pick<BlobSource, 'kind' | 'name'> & { readonly instance?: string };

/** One blob that is being put together, and where its chunks came from. */
export class SwarmBlob implements WantedChunks {
  /** By chunk; none for those that an earlier process brought. */
  readonly givers = new Map<number, Giver>();
  private readonly reserved = new Set<number>();

  constructor(
    readonly wanted: WantedBlob,
    readonly partial: PartialBlob,
    /** Lets others of this process go on with it. */
    readonly endFlight: () => void,
  ) {}

  get digest(): Digest {
    return this.wanted.digest;
  }

  get size(): number {
    return this.wanted.size;
  }

  get mine(): ChunkMap {
    return this.partial.verified;
  }

  /** Who gave all of its chunks; undefined when several did, or some are of an earlier attempt or process. */
  get onlyGiver(): Giver | undefined {
    const [first, ...others] = this.givers.values();
    const isOnlyOne =
      this.givers.size === this.mine.length &&
      others.every(({ name, instance }) => name === first?.name && instance === first.instance);
    return isOnlyOne ? first : undefined;
  }

  /** Whether chunk `index` comes out of a stream that is under way. */
  readonly isReserved = (index: number): boolean => this.reserved.has(index);

  /** Keeps `[from, to)` for a stream. @returns what gives back those that it did not bring */
  reserve(from: number, to: number): () => void {
    for (let index = from; index < to; index += 1) this.reserved.add(index);
    return () => {
      for (let index = from; index < to; index += 1) this.reserved.delete(index);
    };
  }
}
