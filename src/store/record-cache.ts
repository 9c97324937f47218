import { Injectable, Logger } from '@nestjs/common';
import { z } from 'zod';

import { writeFileAtomic } from '../common/atomic-file.js';
import { readSmallFile } from '../common/small-file.js';
import { messageOf } from '../domain/errors.js';
import { parseShallowJson } from '../domain/shallow-json.js';
import { isMissing } from './disk-errors.js';
import { StoreLayout } from './store-layout.js';

const records = z.record(z.string(), z.string());

/** The cluster's records as last read, for the time when the API server cannot be asked: opaque here, checked by their reader. */
@Injectable()
export class RecordCache {
  private readonly logger = new Logger(RecordCache.name);
  private saved: string | undefined;

  constructor(private readonly layout: StoreLayout) {}

  /** By key; none when there is no file or it is damaged. */
  async load(): Promise<ReadonlyMap<string, string>> {
    try {
      const text = (await readSmallFile(this.layout.recordsFile)).toString();
      return new Map(Object.entries(records.parse(parseShallowJson(text))));
    } catch (error) {
      if (!isMissing(error)) {
        this.logger.warn({ error: messageOf(error) }, 'records kept from the last run cannot be read');
      }
      return new Map();
    }
  }

  /**
   * Replaces what is kept. What cannot be written is lost with a warning: nothing depends on it while the API server
   * answers.
   * @returns whether it is on disk now
   */
  async save(map: ReadonlyMap<string, string>): Promise<boolean> {
    const text = JSON.stringify(Object.fromEntries(map));
    if (text === this.saved) return true;
    try {
      await this.layout.ensure();
      await writeFileAtomic(this.layout.recordsFile, text);
      this.saved = text;
      return true;
    } catch (error) {
      this.logger.warn({ error: messageOf(error) }, 'records cannot be kept for the next run');
      return false;
    }
  }
}
