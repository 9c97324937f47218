import { stat } from 'node:fs/promises';

import { Logger } from '@nestjs/common';

import { messageOf } from '../domain/errors.js';
import { type DiskSpace, diskSpaceOf } from './disk-space.js';

/** What loading an image takes where the container runtime keeps its images. */
export interface RuntimeLoad {
  /** As the runtime names it; in a container, that path must lead to the same file system. */
  readonly directory: string;
  /** About: it is known only when the layers are unpacked. */
  readonly sizeBytes: number;
}

export interface RuntimeSpace extends DiskSpace {
  /** Its file system is the store's too: what both write comes out of the same free space. */
  readonly sharedWithStore: boolean;
}

/** Measures the file system of the runtime's images. Where that cannot be done, the log says so once. */
export class RuntimeDisk {
  private readonly logger = new Logger(RuntimeDisk.name);
  private readonly unmeasured = new Set<string>();

  /** Undefined when this process does not see the directory. */
  async space(directory: string, storeDirectory: string): Promise<RuntimeSpace | undefined> {
    try {
      const [space, own, stores] = await Promise.all([
        diskSpaceOf(directory),
        stat(directory),
        stat(storeDirectory),
      ]);
      return { ...space, sharedWithStore: own.dev === stores.dev };
    } catch (error) {
      if (!this.unmeasured.has(directory)) {
        this.unmeasured.add(directory);
        this.logger.warn(
          { directory, error: messageOf(error) },
          "the runtime's directory is not mounted here, so that its disk cannot be measured: MIN_FREE_DISK holds for the store's alone",
        );
      }
      return undefined;
    }
  }
}
