import { rm, writeFile } from 'node:fs/promises';

import { Injectable } from '@nestjs/common';

import { StoreLayout } from './store-layout.js';

/** Finds out whether the store can be written to, by writing to it. */
@Injectable()
export class StoreProbe {
  constructor(private readonly layout: StoreLayout) {}

  /** Rejects with what the file system says. */
  async write(signal: AbortSignal): Promise<void> {
    await this.layout.ensure();
    const path = this.layout.spool();
    try {
      await writeFile(path, 'probe', { signal, mode: 0o600 });
    } finally {
      await rm(path, { force: true });
    }
  }
}
