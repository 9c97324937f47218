import { randomBytes } from 'node:crypto';

import { Inject, Injectable } from '@nestjs/common';

import { AppConfig } from '../config/app-config.js';
import { formatPlatform } from '../domain/platform.js';
import { type PeerIdentity, PROTOCOL_VERSION } from './peer-identity.js';

/** Who this process is to other agents. */
@Injectable()
export class AgentIdentity implements PeerIdentity {
  readonly node: string;
  readonly instance = randomBytes(16).toString('hex');
  readonly platform: string;
  readonly protocol = PROTOCOL_VERSION;

  constructor(@Inject(AppConfig) config: Pick<AppConfig, 'nodeName' | 'platform'>) {
    this.node = config.nodeName;
    this.platform = formatPlatform(config.platform);
  }
}
