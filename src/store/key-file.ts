import { Injectable, Logger } from '@nestjs/common';

import { writeFileAtomic } from '../common/atomic-file.js';
import { readSmallFile } from '../common/small-file.js';
import { messageOf } from '../domain/errors.js';
import { isMissing } from './disk-errors.js';
import { StoreLayout } from './store-layout.js';

const PRIVATE_FILE = 0o600;
const MAX_KEY_BYTES = 64 * 1024;

/** The peer key of the last run, in the store's private folder: see `KeptKey` of peers/ for what it is for. */
@Injectable()
export class KeyFile {
  private readonly logger = new Logger(KeyFile.name);

  constructor(private readonly layout: StoreLayout) {}

  /** Undefined when none was kept, or it cannot be read. */
  async load(): Promise<Buffer | undefined> {
    try {
      return await readSmallFile(this.layout.keyFile, MAX_KEY_BYTES);
    } catch (error) {
      if (!isMissing(error))
        this.logger.warn({ error: messageOf(error) }, 'the peer key of the last run cannot be read');
      return undefined;
    }
  }

  /** Writes only what is not there, so that it may be called at every look at the key. Costs a warning when it cannot. */
  async save(key: Buffer): Promise<void> {
    if ((await this.load())?.equals(key)) return;
    try {
      await this.layout.ensure();
      await writeFileAtomic(this.layout.keyFile, key, PRIVATE_FILE);
    } catch (error) {
      this.logger.warn({ error: messageOf(error) }, 'the peer key cannot be kept for the next run');
    }
  }
}
