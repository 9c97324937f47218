import type { ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';

import { HttpException, Inject, Injectable } from '@nestjs/common';

import { AppConfig } from '../config/app-config.js';
import { PreheatFailure } from '../domain/errors.js';
import { closedSignal, sendStream } from '../mirror/send.js';
import { Uplink } from '../mirror/uplink.js';
import { imageNotFound, noRoomToExport, tooManyDownloads } from './image-errors.js';
import { type ImageExport, ImageExports } from './image-exports.js';
import { ImagesService } from './images.service.js';

const RETRY_AFTER_SECONDS = 5;

/** Answers `GET` and `HEAD /images/download`. */
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
    try {
      if (!leave) throw tooManyDownloads(this.config.limits.downloadConcurrency);
      const closed = closedSignal(response);
      const found = await this.exports.find(wanted, closed);
      if (!found) throw imageNotFound(image);
      const tar = await open(found, closed);
      describe(found, response);
      await sendStream(response, tar, {
        stallTimeoutMs: this.config.pullingTimeoutMs,
        beforePiece: (bytes) => {
          found.touch();
          return this.uplink.take(bytes, closed);
        },
      });
    } catch (error) {
      if (isForNow(error)) response.setHeader('Retry-After', RETRY_AFTER_SECONDS);
      throw error;
    } finally {
      leave?.();
    }
  }

  /** The head alone of what `send` would answer: nothing is exported for it. */
  async sendHead(text: string, response: ServerResponse): Promise<void> {
    const { image, wanted } = this.images.find(text);
    const found = wanted && (await this.exports.find(wanted, closedSignal(response)));
    if (!found) throw imageNotFound(image);
    describe(found, response);
    response.end();
  }
}

async function open(found: ImageExport, signal: AbortSignal): Promise<Readable> {
  try {
    return await found.open(signal);
  } catch (error) {
    const isFull = error instanceof PreheatFailure && error.reason === 'insufficient_disk';
    throw isFull ? noRoomToExport(error.message) : error;
  }
}

function describe({ sizeBytes }: ImageExport, response: ServerResponse): void {
  response.setHeader('Content-Type', 'application/x-tar');
  if (sizeBytes !== undefined) response.setHeader('Content-Length', sizeBytes);
}

/** Refused by what goes on here at the moment. */
function isForNow(error: unknown): boolean {
  return error instanceof HttpException && [429, 503].includes(error.getStatus());
}
