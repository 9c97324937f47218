import { Module } from '@nestjs/common';

import { PeersModule } from '../peers/peers.module.js';
import { StoreModule } from '../store/store.module.js';
import { DistributionResponder } from './distribution.responder.js';
import { MirrorServer } from './mirror.server.js';
import { Uplink } from './uplink.js';

/** The `/v2` API over the blob store, for the runtime on loopback. Its face on `PORT` is `V2Module`. */
@Module({
  imports: [PeersModule, StoreModule],
  providers: [DistributionResponder, MirrorServer, Uplink],
  exports: [DistributionResponder, MirrorServer, Uplink],
})
export class MirrorModule {}
