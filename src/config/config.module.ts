import { type DynamicModule, Module } from '@nestjs/common';

import { Clock, systemClock } from '../common/clock.js';
import { AppConfig } from './app-config.js';

/** The configuration and the clock, for everyone. */
@Module({})
export class ConfigModule {
  /** @param config read before Nest starts, because it decides where to listen and how to log */
  static forRoot(config: AppConfig, clock: Clock = systemClock): DynamicModule {
    const providers = [
      { provide: AppConfig, useValue: config },
      { provide: Clock, useValue: clock },
    ];
    return { module: ConfigModule, global: true, providers, exports: providers };
  }
}
