import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { HealthCheck, type HealthCheckResult } from '@nestjs/terminus';

import { Access } from '../common/access.decorator.js';
import { ReadinessService } from './readiness.service.js';

@ApiTags('health')
@Access('public')
@Controller('health')
export class HealthController {
  constructor(private readonly readiness: ReadinessService) {}

  /** Depends on nothing: a node must not restart its agent because something else is down. */
  @Get()
  @ApiOperation({ summary: 'Whether the process works' })
  @ApiOkResponse({
    schema: { type: 'object', properties: { status: { type: 'string', example: 'healthy' } } },
  })
  live(): { status: 'healthy' } {
    return { status: 'healthy' };
  }

  @Get('ready')
  @ApiOperation({ summary: 'Whether the list is loaded, the runtime reachable and the store writable' })
  @HealthCheck()
  ready(): Promise<HealthCheckResult> {
    return this.readiness.read();
  }
}
