import { Module } from '@nestjs/common';

import { ImageListService } from './image-list.service.js';

/** The images that must be warm. */
@Module({ providers: [ImageListService], exports: [ImageListService] })
export class ImageListModule {}
