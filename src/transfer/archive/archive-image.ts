import type { Digest } from '../../domain/digest.js';
import type { WantedBlob } from '../blob-source.js';

/** An image that an archive in `MOUNT_DIR` holds in full, for one platform. */
export interface ArchiveImage {
  /** Name of the file or folder in `MOUNT_DIR`. */
  readonly archive: string;
  /** What the name means, by this archive: index or manifest. */
  readonly root: Digest;
  /** The platform's manifest; `root` itself when that is no index. */
  readonly manifest: Digest;
  /** The same on all archives and registries that have this very image: what Docker's classic store goes by. */
  readonly config: Digest;
  /** Everything to fetch, once each: root, manifest, config, layers, base first. `archives.source()` has them all. */
  readonly blobs: readonly WantedBlob[];
  /** True for a docker-archive: no manifest was in it; ours is derived from the config, its layers go by their diffIDs. */
  readonly derived: boolean;
}

/** Why an archive, or a part of it, was passed over. */
export interface ArchiveProblem {
  /** Name of the file or folder in `MOUNT_DIR`. */
  readonly file: string;
  readonly reason: string;
}
