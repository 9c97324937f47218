import { Body, Controller, HttpCode, HttpStatus, Inject, Post, Req } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Request } from 'express';

import { Access } from '../../common/access.decorator.js';
import { JsonBody } from '../../common/json-body.js';
import { callerOf } from '../access/caller.js';
import { AgentIdentity } from '../agent-identity.js';
import { AvailabilityProvider } from '../availability-provider.js';
import { encodeAvailability, MAX_QUESTION_BYTES } from '../wire/availability-wire.js';
import { AvailabilityDto } from './availability.dto.js';

/** What this node has of the blobs that a peer asks about. */
@ApiTags('peer')
@Access('peer')
@JsonBody(MAX_QUESTION_BYTES)
@Controller('peer/v1/availability')
export class AvailabilityController {
  constructor(
    private readonly identity: AgentIdentity,
    @Inject(AvailabilityProvider) private readonly provider: AvailabilityProvider,
  ) {}

  @Post()
  @HttpCode(HttpStatus.OK)
  @ApiOperation({ summary: 'What this node has of some blobs' })
  @ApiOkResponse({ description: '{node, instance, platform, protocol, blobs, participants}' })
  async describe(@Body() { digests, known }: AvailabilityDto, @Req() request: Request): Promise<object> {
    const { node, instance, platform, protocol } = this.identity;
    const { blobs, participants } = await this.provider.describe(digests, callerOf(request));
    return encodeAvailability({ node, instance, platform, protocol, blobs, participants }, known);
  }
}
