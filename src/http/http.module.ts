import { type ExecutionContext, Module } from '@nestjs/common';
import { APP_FILTER, APP_GUARD } from '@nestjs/core';
import { ThrottlerGuard, ThrottlerModule, type ThrottlerModuleOptions } from '@nestjs/throttler';
import type { Request } from 'express';

import { AppConfig } from '../config/app-config.js';
import { DocsLimit } from './docs-limit.js';
import { ErrorFilter } from './error.filter.js';
import { RequestCounts } from './request-counts.js';
import { isHandshakeRoute, isMachineRoute } from './route-groups.js';

/** Requests of one address: what a hundred agents behind it need to meet within a second, and nothing to a processor. */
const HANDSHAKES_PER_SECOND = 200;

@Module({ providers: [RequestCounts, DocsLimit], exports: [RequestCounts, DocsLimit] })
class RequestCountsModule {}

/**
 * What holds for all routes: the form of errors, `API_RATE_LIMIT` for people's ones, and a limit for strangers where
 * agents meet. Its guard must be the first.
 */
@Module({
  imports: [
    ThrottlerModule.forRootAsync({
      imports: [RequestCountsModule],
      inject: [AppConfig, RequestCounts],
      useFactory: ({ limits }: AppConfig, storage: RequestCounts): ThrottlerModuleOptions => ({
        throttlers: [
          {
            ttl: 1_000,
            limit: (context) => (isHandshake(context) ? HANDSHAKES_PER_SECOND : limits.apiRequestsPerSecond),
          },
        ],
        storage,
        // One count per client over all routes of a kind; the default is one for each route.
        generateKey: (context, client) => (isHandshake(context) ? `handshake ${client}` : client),
        skipIf: (context) =>
          !isHandshake(context) && (limits.apiRequestsPerSecond === 0 || isMachineRoute(pathOf(context))),
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

function isHandshake(context: ExecutionContext): boolean {
  return isHandshakeRoute(pathOf(context));
}
