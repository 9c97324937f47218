import { Body, Controller, HttpCode, HttpStatus, Inject, Post } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';

import { Access } from '../../common/access.decorator.js';
import { JsonBody } from '../../common/json-body.js';
import { RuntimeView } from '../runtime-view.js';
import { encodeRuntimeAnswer, MAX_QUESTION_BYTES } from '../wire/runtime-wire.js';
import { RuntimeDto } from './runtime.dto.js';

const TIMEOUT_MS = 8_000;

/** Which images the container runtime of this node has, of those that a peer asks about. */
@ApiTags('peer')
@Access('peer')
@JsonBody(MAX_QUESTION_BYTES)
@Controller('peer/v1/runtime')
export class RuntimeController {
  constructor(@Inject(RuntimeView) private readonly runtime: RuntimeView) {}

  @Post()
  @HttpCode(HttpStatus.OK)
  @ApiOperation({ summary: "Which of some images this node's runtime has" })
  @ApiOkResponse({ description: '{images, holdings}' })
  async present(@Body() { images }: RuntimeDto): Promise<object> {
    return encodeRuntimeAnswer(await this.runtime.present(images, AbortSignal.timeout(TIMEOUT_MS)));
  }
}
