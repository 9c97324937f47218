import { ApiProperty } from '@nestjs/swagger';
import { IsInt, Matches, Max, MaxLength, Min } from 'class-validator';

import { INSTANCE, NODE_NAME } from '../peer-identity.js';
import { type Hello, TOKEN_256 } from './session-wire.js';

/** Body of `POST /peer/v1/session`. */
export class HelloDto implements Hello {
  @ApiProperty({ example: 1 })
  @IsInt()
  @Min(1)
  @Max(1_000_000)
  readonly protocol!: number;

  @ApiProperty({ example: 'node-7' })
  @Matches(NODE_NAME)
  readonly node!: string;

  @ApiProperty({ description: '32 hex digits, random per process' })
  @Matches(INSTANCE)
  readonly instance!: string;

  @ApiProperty({ description: 'base64url of 32 random bytes' })
  @Matches(TOKEN_256)
  readonly nonce!: string;

  @ApiProperty({ example: '10.0.0.7:8080', description: 'what the caller dialled; [v6]:port for IPv6' })
  @MaxLength(64)
  readonly address!: string;
}
