import { type ExecutionContext, Module } from '@nestjs/common';
import { APP_FILTER, APP_GUARD } from '@nestjs/core';
import { ThrottlerGuard, ThrottlerModule, type ThrottlerModuleOptions } from '@nestjs/throttler';
import type { Request } from 'express';

import { AppConfig } from '../config/app-config.js';
import { ErrorFilter } from './error.filter.js';
import { RequestCounts } from './request-counts.js';
import { isMachineRoute } from './route-groups.js';

@Module({ providers: [RequestCounts], exports: [RequestCounts] })
class RequestCountsModule {}

/** What holds for all routes: the form of errors, and `API_RATE_LIMIT` for people's ones. Its guard must be the first. */
@Module({
  imports: [
    ThrottlerModule.forRootAsync({
      imports: [RequestCountsModule],
      inject: [AppConfig, RequestCounts],
      useFactory: ({ limits }: AppConfig, storage: RequestCounts): ThrottlerModuleOptions => ({
        throttlers: [{ ttl: 1_000, limit: limits.apiRequestsPerSecond }],
        storage,
        // One count per client over all routes; the default is one for each route.
        generateKey: (_context, client) => client,
        skipIf: (context) => limits.apiRequestsPerSecond === 0 || isMachineRoute(pathOf(context)),
      }),
    }),
  ],
  providers: [
    { provide: APP_FILTER, useClass: ErrorFilter },
    { provide: APP_GUARD, useClass: ThrottlerGuard },
  ],
})
export class HttpModule {}

function pathOf(context: ExecutionContext): string {
  return context.switchToHttp().getRequest<Request>().path;
}
