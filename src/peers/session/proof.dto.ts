import { ApiProperty } from '@nestjs/swagger';
import { Matches } from 'class-validator';

import { type Proof, TOKEN_256 } from './session-wire.js';

/** Body of `POST /peer/v1/session/proof`. */
export class ProofDto implements Proof {
  @ApiProperty({ description: 'the nonce of the answer to the hello' })
  @Matches(TOKEN_256)
  readonly nonce!: string;

  @ApiProperty({ description: 'base64url of an HMAC-SHA256 over the handshake' })
  @Matches(TOKEN_256)
  readonly proof!: string;
}
