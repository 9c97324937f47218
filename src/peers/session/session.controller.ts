import { Body, Controller, HttpCode, HttpStatus, Inject, Post, Req } from '@nestjs/common';
import { ApiNoContentResponse, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Request } from 'express';

import { Access } from '../../common/access.decorator.js';
import { JsonBody } from '../../common/json-body.js';
import { AppConfig } from '../../config/app-config.js';
import { AgentIdentity } from '../agent-identity.js';
import { PeerDirectory } from '../peer-directory.js';
import { canonicalIp, formatAddress } from '../peer-address.js';
import { HelloDto } from './hello.dto.js';
import { IncomingSessions } from './incoming-sessions.js';
import { ProofDto } from './proof.dto.js';
import type { HelloAnswer } from './session-wire.js';

/** Ten times what a hello is: anyone may send one. */
const MAX_BODY_BYTES = 4096;

/** The handshake between agents. Open to everyone: it says who we are and proves it, and asks the caller for the same. */
@ApiTags('peer')
@Access('public')
@JsonBody(MAX_BODY_BYTES)
@Controller('peer/v1/session')
export class SessionController {
  constructor(
    @Inject(AppConfig) private readonly config: AppConfig,
    private readonly identity: AgentIdentity,
    private readonly sessions: IncomingSessions,
    private readonly directory: PeerDirectory,
  ) {}

  @Post()
  @HttpCode(HttpStatus.OK)
  @ApiOperation({ summary: "This agent's identity, and the first half of a handshake" })
  @ApiOkResponse({ description: '{node, instance, platform, protocol, nonce?, proofs?}' })
  hello(@Body() hello: HelloDto, @Req() request: Request): HelloAnswer {
    const { node, instance, platform, protocol } = this.identity;
    if (this.config.access.peerAuth === 'none') {
      this.directory.calledFrom(remoteIp(request));
      return { node, instance, platform, protocol };
    }
    return this.sessions.challenge(hello, localAddress(request), request.socket.remoteAddress ?? '');
  }

  @Post('proof')
  @HttpCode(HttpStatus.NO_CONTENT)
  @ApiOperation({ summary: "The caller's proof, the second half of a handshake" })
  @ApiNoContentResponse()
  prove(@Body() proof: ProofDto, @Req() request: Request): void {
    this.sessions.prove(proof);
    // Not at its hello: two who refuse each other would call each other back for ever.
    this.directory.calledFrom(remoteIp(request));
  }
}

function remoteIp({ socket }: Request): string {
  return canonicalIp(socket.remoteAddress ?? '') ?? '';
}

function localAddress({ socket }: Request): string {
  return formatAddress({
    host: canonicalIp(socket.localAddress ?? '') ?? '',
    port: socket.localPort ?? 0,
  });
}
