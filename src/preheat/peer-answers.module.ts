import { Module } from '@nestjs/common';

import { TagResolver } from '../mirror/tag-resolver.js';
import { AvailabilityProvider } from '../peers/availability-provider.js';
import { RuntimeView } from '../peers/runtime-view.js';
import { StoreModule } from '../store/store.module.js';
import { AvailabilityService } from '../transfer/availability.service.js';
import { TransferModule } from '../transfer/transfer.module.js';
import { CatalogTags } from './catalog-tags.js';
import { ListedImages } from './listed-images.js';
import { PreheatModule } from './preheat.module.js';

/** The ports through which lower folders answer with what only the upper ones know. */
@Module({
  imports: [PreheatModule, StoreModule, TransferModule],
  providers: [
    ListedImages,
    CatalogTags,
    { provide: AvailabilityProvider, useExisting: AvailabilityService },
    { provide: RuntimeView, useExisting: ListedImages },
    { provide: TagResolver, useExisting: CatalogTags },
  ],
  exports: [AvailabilityProvider, RuntimeView, TagResolver],
})
export class PeerAnswersModule {}
