import { ApiProperty } from '@nestjs/swagger';
import { ArrayMaxSize, IsArray, IsString, MaxLength } from 'class-validator';

import { MAX_IMAGES } from '../wire/runtime-wire.js';

/** Body of `POST /peer/v1/runtime`. */
export class RuntimeDto {
  @ApiProperty({ type: [String], maxItems: MAX_IMAGES, description: 'normalised references' })
  @IsArray()
  @ArrayMaxSize(MAX_IMAGES)
  @IsString({ each: true })
  @MaxLength(1024, { each: true })
  readonly images!: string[];
}
