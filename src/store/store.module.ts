import { Module } from '@nestjs/common';

import { BlobStore } from './blob-store.js';
import { ImageCatalog } from './image-catalog.js';
import { KeyFile } from './key-file.js';
import { RecordCache } from './record-cache.js';
import { StoreInventory } from './store-inventory.js';
import { StoreLayout } from './store-layout.js';
import { StoreLock } from './store-lock.js';
import { StoreProbe } from './store-probe.js';
import { StoreSpace } from './store-space.js';

/** The blob store. Nothing in `STORE_DIR` is touched before `BlobStore.open`, which start-up calls once the mirror's port is bound. */
@Module({
  providers: [
    StoreLayout,
    StoreLock,
    StoreInventory,
    StoreProbe,
    ImageCatalog,
    BlobStore,
    StoreSpace,
    RecordCache,
    KeyFile,
  ],
  exports: [BlobStore, ImageCatalog, StoreInventory, StoreProbe, StoreSpace, RecordCache, KeyFile],
})
export class StoreModule {}
