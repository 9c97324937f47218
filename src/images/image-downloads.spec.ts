import { Readable } from 'node:stream';

import type { INestApplication } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import request from 'supertest';
import type { App } from 'supertest/types.js';

import { AppConfig } from '../config/app-config.js';
import { PreheatFailure } from '../domain/errors.js';
import { Uplink } from '../mirror/uplink.js';
import { ImageDownloads } from './image-downloads.js';
import { exportUnderWay } from './image-errors.js';
import { type ImageExport, ImageExports } from './image-exports.js';
import { ImagesController } from './images.controller.js';
import { ImagesService } from './images.service.js';

const TAR = Buffer.from('a tar');

describe('/images/download', () => {
  let app: INestApplication<App>;
  let sizeBytes: number | undefined;
  let failure: Error | undefined;
  let full: boolean;
  let entered: number;
  let opened: number;
  let touched: number;
  let sentBytes: number;

  const found = (): ImageExport => ({
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
    open: () => {
      opened += 1;
      return failure ? Promise.reject(failure) : Promise.resolve(Readable.from([TAR]));
    },
    touch: () => (touched += 1),
  });

  beforeEach(async () => {
    [sizeBytes, failure, full, entered, opened, touched, sentBytes] = [
      TAR.length,
      undefined,
      false,
      0,
      0,
      0,
      0,
    ];
    const module = await Test.createTestingModule({
      controllers: [ImagesController],
      providers: [
        ImageDownloads,
        { provide: AppConfig, useValue: { pullingTimeoutMs: 10_000, limits: { downloadConcurrency: 4 } } },
        {
          provide: ImagesService,
          useValue: {
            find: (image: string) => ({ image, wanted: image === 'unlisted' ? undefined : { image } }),
          },
        },
        {
          provide: ImageExports,
          useValue: {
            tryEnter: () => {
              entered += 1;
              return full ? undefined : () => (entered -= 1);
            },
            find: ({ image }: { image: string }) => Promise.resolve(image === 'absent' ? undefined : found()),
          },
        },
        { provide: Uplink, useValue: { take: (bytes: number) => Promise.resolve((sentBytes += bytes)) } },
      ],
    }).compile();
    app = module.createNestApplication();
    app.useLogger(false);
    await app.init();
  });
  afterEach(() => app.close());

  const get = (image: string): request.Test =>
    request(app.getHttpServer()).get(`/images/download?image=${image}`);
  const head = (image: string): request.Test =>
    request(app.getHttpServer()).head(`/images/download?image=${image}`);

  it('sends the tar, and keeps what it reads', async () => {
    const response = await get('app').responseType('blob').expect(200);
    expect(response.body).toEqual(TAR);
    expect(response.headers).toMatchObject({ 'content-type': 'application/x-tar', 'content-length': '5' });
    expect([entered, touched, sentBytes]).toEqual([0, 1, TAR.length]);
  });

  it('answers HEAD without an export, a place or a byte of the rate', async () => {
    const { headers } = await head('app').expect(200);
    expect(headers).toMatchObject({ 'content-type': 'application/x-tar', 'content-length': '5' });
    sizeBytes = undefined;
    expect((await head('app').expect(200)).headers).not.toHaveProperty('content-length');
    expect([opened, entered, sentBytes]).toEqual([0, 0, 0]);
  });

  it.each(['absent', 'unlisted'])('has nothing for an image that is %s', async (image) => {
    await head(image).expect(404);
    const { headers } = await get(image).expect(404);
    expect(headers).not.toHaveProperty('retry-after');
  });

  it.each<[string, () => void, number, string]>([
    ['all places are taken', () => (full = true), 429, 'TOO_MANY_DOWNLOADS'],
    ['the runtime is at another export', () => (failure = exportUnderWay()), 429, 'EXPORT_UNDER_WAY'],
    [
      'there is no room for an export',
      () => (failure = new PreheatFailure('insufficient_disk', 'the image needs 3 GiB')),
      503,
      'INSUFFICIENT_DISK',
    ],
  ])('says when to come again when %s', async (_, arrange, statusCode, code) => {
    arrange();
    const response = await get('app').expect(statusCode);
    expect(response.body).toMatchObject({ statusCode, code });
    expect(Number(response.headers['retry-after'])).toBeGreaterThan(0);
  });
});
