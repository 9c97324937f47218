import { type DynamicModule, Module, type ModuleMetadata } from '@nestjs/common';

import { PeersModule } from './peers.module.js';
import { AvailabilityController } from './serving/availability.controller.js';
import { RuntimeController } from './serving/runtime.controller.js';

/**
 * What this agent answers to its peers. `imports` are the modules that export the ports `AvailabilityProvider` and
 * `RuntimeView`: they stand above this folder, so the application names them.
 */
@Module({})
export class PeerApiModule {
  static answeredBy(imports: NonNullable<ModuleMetadata['imports']>): DynamicModule {
    return {
      module: PeerApiModule,
      imports: [PeersModule, ...imports],
      controllers: [AvailabilityController, RuntimeController],
    };
  }
}
