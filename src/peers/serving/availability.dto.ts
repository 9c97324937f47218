import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { ArrayMaxSize, IsArray, IsObject, IsOptional, IsString, Matches, MaxLength } from 'class-validator';

import type { Digest } from '../../domain/digest.js';
import { MAX_DIGESTS } from '../wire/availability-wire.js';

/** Body of `POST /peer/v1/availability`. */
export class AvailabilityDto {
  @ApiPropertyOptional({ description: 'the image that the blobs belong to, a normalised reference' })
  @IsOptional()
  @IsString()
  @MaxLength(1024)
  readonly image?: string;

  @ApiProperty({ type: [String], maxItems: MAX_DIGESTS })
  @IsArray()
  @ArrayMaxSize(MAX_DIGESTS)
  @Matches(/^sha256:[0-9a-f]{64}$/, { each: true })
  readonly digests!: Digest[];

  @ApiPropertyOptional({
    description: 'per digest, the chunks whose hashes the caller knows already, as a bitmap in base64',
    type: Object,
  })
  @IsOptional()
  @IsObject()
  readonly known?: Readonly<Record<string, unknown>>;
}
