import { type DynamicModule, Module, type ModuleMetadata } from '@nestjs/common';

import { MirrorModule } from './mirror.module.js';
import { V2Controller } from './v2.controller.js';

/** The `/v2` API on `PORT`. `imports` export `TagResolver`: it stands above this folder, so the application names it. */
@Module({})
export class V2Module {
  static resolvedBy(imports: NonNullable<ModuleMetadata['imports']>): DynamicModule {
    return { module: V2Module, imports: [MirrorModule, ...imports], controllers: [V2Controller] };
  }
}
