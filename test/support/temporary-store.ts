import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { type Clock, systemClock } from '../../src/common/clock.js';
import type { AppConfig } from '../../src/config/app-config.js';
import { BlobStore } from '../../src/store/blob-store.js';
import { ImageCatalog } from '../../src/store/image-catalog.js';
import { RecordCache } from '../../src/store/record-cache.js';
import { StoreInventory } from '../../src/store/store-inventory.js';
import { StoreLayout } from '../../src/store/store-layout.js';
import { StoreLock } from '../../src/store/store-lock.js';
import { StoreSpace } from '../../src/store/store-space.js';

export type StoreConfig = Partial<AppConfig['store']>;

/** The real store, put together without Nest, in a directory of its own. */
export class TemporaryStore {
  readonly layout: StoreLayout;
  readonly catalog: ImageCatalog;
  readonly store: BlobStore;
  readonly space: StoreSpace;
  readonly records: RecordCache;

  private constructor(
    readonly directory: string,
    private readonly settings: StoreConfig,
    private readonly clock: Clock,
  ) {
    const config = {
      store: { directory, maxSizeBytes: 0, minFree: { bytes: 0 }, ...settings },
    } as unknown as AppConfig;
    this.layout = new StoreLayout(config);
    const inventory = new StoreInventory(this.layout);
    this.catalog = new ImageCatalog(this.layout, clock);
    this.store = new BlobStore(this.layout, new StoreLock(this.layout), inventory, this.catalog, clock);
    this.space = new StoreSpace(config, clock, this.layout, this.store, inventory, this.catalog);
    this.records = new RecordCache(this.layout);
  }

  /** Opened; no limits unless `settings` have some. In `settings.directory`, which must then be disposed of by the caller. */
  static async open(settings: StoreConfig = {}, clock = systemClock): Promise<TemporaryStore> {
    const directory = settings.directory ?? (await mkdtemp(join(tmpdir(), 'store-')));
    const opened = new TemporaryStore(directory, settings, clock);
    await opened.store.open();
    return opened;
  }

  /** Closes it and opens the same directory again, as a restart does. */
  async reopen(): Promise<TemporaryStore> {
    await this.store.close();
    return TemporaryStore.open({ ...this.settings, directory: this.directory }, this.clock);
  }

  async dispose(): Promise<void> {
    await this.store.close();
    await rm(this.directory, { recursive: true, force: true });
  }
}
