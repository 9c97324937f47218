import { type DynamicModule, Module } from '@nestjs/common';
import { ScheduleModule } from '@nestjs/schedule';
import { LoggerModule } from 'nestjs-pino';

import type { AppConfig } from './config/app-config.js';
import { ConfigModule } from './config/config.module.js';
import { AgentLogger } from './http/agent-logger.js';
import { AgentReadiness } from './health/agent-readiness.js';
import { HealthModule } from './health/health.module.js';
import { HttpModule } from './http/http.module.js';
import { loggingParams } from './http/logging.js';
import { ImageListModule } from './image-list/image-list.module.js';
import { ImagesModule } from './images/images.module.js';
import { MetricsModule } from './metrics/metrics.module.js';
import { V2Module } from './mirror/v2.module.js';
import { PeerApiModule } from './peers/peer-api.module.js';
import { PeerAnswersModule } from './preheat/peer-answers.module.js';
import { PreheatModule } from './preheat/preheat.module.js';
import { RuntimeCredentialsModule } from './preheat/runtime-credentials.module.js';
import { StoreModule } from './store/store.module.js';

/** One agent. `HttpModule` comes first: its guard counts requests before any other looks at them. */
@Module({})
export class AppModule {
  static register(config: AppConfig): DynamicModule {
    return {
      module: AppModule,
      imports: [
        ConfigModule.forRoot(config),
        LoggerModule.forRoot(loggingParams(config)),
        ScheduleModule.forRoot(),
        HttpModule,
        MetricsModule,
        HealthModule.register(AgentReadiness, [ImageListModule, PreheatModule, StoreModule]),
        PeerApiModule.answeredBy([PeerAnswersModule]),
        V2Module.resolvedBy([PeerAnswersModule]),
        ImagesModule,
        RuntimeCredentialsModule,
      ],
      providers: [AgentLogger],
    };
  }
}
