import type { ServerResponse } from 'node:http';

import { Inject, Injectable } from '@nestjs/common';

import { AppConfig } from '../config/app-config.js';
import { closedSignal, sendStream } from '../mirror/send.js';
import { Uplink } from '../mirror/uplink.js';
import { imageNotFound, tooManyDownloads } from './image-errors.js';
import { ImageExports } from './image-exports.js';
import { ImagesService } from './images.service.js';

const RETRY_AFTER_SECONDS = 5;

/** Answers `GET /images/download`. */
@Injectable()
export class ImageDownloads {
  constructor(
    @Inject(AppConfig) private readonly config: AppConfig,
    private readonly images: ImagesService,
    private readonly exports: ImageExports,
    private readonly uplink: Uplink,
  ) {}

  /** What fails before the first byte is thrown; what fails after it breaks the connection. */
  async send(text: string, response: ServerResponse): Promise<void> {
    const { image, wanted } = this.images.find(text);
    if (!wanted) throw imageNotFound(image);
    const leave = this.exports.tryEnter();
    if (!leave) {
      response.setHeader('Retry-After', RETRY_AFTER_SECONDS);
      throw tooManyDownloads(this.config.limits.downloadConcurrency);
    }
    try {
      const closed = closedSignal(response);
      const tar = await this.exports.open(wanted, closed);
      if (!tar) throw imageNotFound(image);
      response.setHeader('Content-Type', 'application/x-tar');
      if (tar.sizeBytes !== undefined) response.setHeader('Content-Length', tar.sizeBytes);
      await sendStream(response, tar.stream, {
        stallTimeoutMs: this.config.pullingTimeoutMs,
        beforePiece: (bytes) => this.uplink.take(bytes, closed),
      });
    } finally {
      leave();
    }
  }
}
