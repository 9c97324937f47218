import { type DynamicModule, Module, type ModuleMetadata, type Type } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';

import { HealthController } from './health.controller.js';
import { ReadinessChecks } from './readiness-checks.js';
import { ReadinessService } from './readiness.service.js';

@Module({})
export class HealthModule {
  /** @param checks what readiness asks; `imports` are the modules that it needs */
  static register(checks: Type<ReadinessChecks>, imports: ModuleMetadata['imports'] = []): DynamicModule {
    return {
      module: HealthModule,
      // The service logs changes itself; terminus would log every failing probe.
      imports: [TerminusModule.forRoot({ logger: false }), ...imports],
      controllers: [HealthController],
      providers: [{ provide: ReadinessChecks, useClass: checks }, ReadinessService],
    };
  }
}
