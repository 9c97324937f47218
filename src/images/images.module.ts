import { Module } from '@nestjs/common';

import { ImageListModule } from '../image-list/image-list.module.js';
import { MirrorModule } from '../mirror/mirror.module.js';
import { PreheatModule } from '../preheat/preheat.module.js';
import { RuntimeModule } from '../runtime/runtime.module.js';
import { StoreModule } from '../store/store.module.js';
import { ImageDownloads } from './image-downloads.js';
import { ImageExports } from './image-exports.js';
import { ImagesController } from './images.controller.js';
import { ImagesService } from './images.service.js';
import { RuntimeExporter } from './runtime-exporter.js';

@Module({
  imports: [ImageListModule, MirrorModule, PreheatModule, RuntimeModule, StoreModule],
  controllers: [ImagesController],
  providers: [ImagesService, ImageDownloads, ImageExports, RuntimeExporter],
})
export class ImagesModule {}
