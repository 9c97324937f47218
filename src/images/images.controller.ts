import type { ServerResponse } from 'node:http';

import { Body, Controller, Get, Head, HttpCode, HttpStatus, Post, Query, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiProduces, ApiQuery, ApiResponse, ApiTags } from '@nestjs/swagger';

import { Access } from '../common/access.decorator.js';
import { JsonBody } from '../common/json-body.js';
import { closedSignal } from '../mirror/send.js';
import { ImageDownloads } from './image-downloads.js';
import { imageRequired } from './image-errors.js';
import { ImageCheckDto, ImagesDto, PreheatAcceptedDto, PreheatRequestDto } from './images.dto.js';
import { ImagesService } from './images.service.js';

/** Of a request: a thousand references of a kilobyte each. */
const MAX_BODY_BYTES = 1024 * 1024;

@ApiTags('images')
@Controller('images')
export class ImagesController {
  constructor(
    private readonly images: ImagesService,
    private readonly downloads: ImageDownloads,
  ) {}

  @Get()
  @Access('read')
  @ApiOperation({
    summary: 'Every image of the list and of requests, and the lines of the list that do not parse.',
  })
  @ApiResponse({ status: 200, type: ImagesDto })
  list(): ImagesDto {
    return this.images.overview();
  }

  @Get('check')
  @Access('read')
  @ApiOperation({
    summary: 'Whether the container runtime has an image; only of images that the list or a request names.',
  })
  @ApiQuery({ name: 'image', example: 'nginx:1.27' })
  @ApiResponse({ status: 200, type: ImageCheckDto })
  @ApiResponse({ status: 400, description: 'Not an image reference.' })
  @ApiResponse({
    status: 404,
    type: ImageCheckDto,
    description: 'Absent, or named by neither the list nor a request.',
  })
  @ApiResponse({ status: 503, description: 'The runtime does not answer.' })
  async check(
    @Query('image') image: unknown,
    @Res({ passthrough: true }) response: ServerResponse,
  ): Promise<ImageCheckDto> {
    const answer = await this.images.check(single(image), closedSignal(response));
    response.statusCode = answer.exists ? HttpStatus.OK : HttpStatus.NOT_FOUND;
    return answer;
  }

  /** Before the route for GET, which Express would take for HEAD as well. */
  @Head('download')
  @Access('peer-or-token')
  @ApiBearerAuth()
  @ApiOperation({ summary: 'Whether there is something to download, and its size where the store has it.' })
  @ApiQuery({ name: 'image', example: 'nginx:1.27' })
  @ApiResponse({ status: 200 })
  @ApiResponse({ status: 404, description: 'Absent, or named by neither the list nor a request.' })
  async head(@Query('image') image: unknown, @Res() response: ServerResponse): Promise<void> {
    await this.downloads.sendHead(single(image), response);
  }

  @Get('download')
  @Access('peer-or-token')
  @ApiBearerAuth()
  @ApiOperation({
    summary:
      'The image as one tar for docker load and ctr images import. A broken connection means a failure midway.',
  })
  @ApiQuery({ name: 'image', example: 'nginx:1.27' })
  @ApiProduces('application/x-tar')
  @ApiResponse({ status: 200 })
  @ApiResponse({ status: 400, description: 'Not an image reference.' })
  @ApiResponse({ status: 401, description: 'Without the API token.' })
  @ApiResponse({ status: 404, description: 'Absent, or named by neither the list nor a request.' })
  @ApiResponse({
    status: 429,
    description:
      'DOWNLOAD_API_CONCURRENCY downloads are under way, or another export of the runtime; see Retry-After.',
  })
  @ApiResponse({
    status: 503,
    description: 'The runtime does not answer, or MIN_FREE_DISK leaves it no room for an export.',
  })
  async download(@Query('image') image: unknown, @Res() response: ServerResponse): Promise<void> {
    await this.downloads.send(single(image), response);
  }

  @Post('preheat')
  @Access('token')
  @JsonBody(MAX_BODY_BYTES)
  @ApiBearerAuth()
  @HttpCode(HttpStatus.ACCEPTED)
  @ApiOperation({ summary: 'Preheats these images now, once, beside the list.' })
  @ApiResponse({ status: 202, type: PreheatAcceptedDto })
  @ApiResponse({ status: 400, description: 'Not image references.' })
  @ApiResponse({ status: 401, description: 'Without the API token.' })
  @ApiResponse({
    status: 403,
    description: 'A registry that is neither in the list nor in ALLOWED_REGISTRIES.',
  })
  preheat(@Body() { images }: PreheatRequestDto): PreheatAcceptedDto {
    return { images: this.images.request(images) };
  }
}

/** Query strings may repeat a name, or nest it; one plain value is accepted. */
function single(value: unknown): string {
  if (typeof value !== 'string' || value === '') throw imageRequired();
  return value;
}
