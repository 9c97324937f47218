import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { ArrayMaxSize, ArrayNotEmpty, IsArray, IsString, MaxLength } from 'class-validator';

import {
  FAILURE_REASONS,
  type FailureReason,
  PREHEAT_STATES,
  type PreheatState,
  SOURCES,
  type Source,
} from '../domain/preheat-state.js';

/** Longer references are refused by the parser with a better message; this bounds what is read at all. */
const MAX_REFERENCE_LENGTH = 8192;
const MAX_IMAGES = 1000;

export class PreheatRequestDto {
  @ApiProperty({ type: [String], example: ['nginx:1.27'], description: 'References, as in the image list.' })
  @IsArray()
  @ArrayNotEmpty()
  @ArrayMaxSize(MAX_IMAGES)
  @IsString({ each: true })
  @MaxLength(MAX_REFERENCE_LENGTH, { each: true })
  images!: string[];
}

export class PreheatAcceptedDto {
  @ApiProperty({ type: [String], description: 'The normalised references.' })
  images!: string[];
}

export class ImageCheckDto {
  @ApiProperty({ description: 'The normalised reference.' })
  image!: string;

  @ApiProperty()
  exists!: boolean;

  @ApiPropertyOptional({ description: "The runtime's id of the image." })
  id?: string;

  @ApiPropertyOptional({ description: 'Digest of its manifest or index, where the runtime knows it.' })
  digest?: string;
}

export class ImageStatusDto {
  @ApiProperty()
  image!: string;

  @ApiProperty({ example: 'linux/amd64' })
  platform!: string;

  @ApiPropertyOptional()
  digest?: string;

  @ApiProperty({ enum: PREHEAT_STATES })
  state!: PreheatState;

  @ApiPropertyOptional({ enum: SOURCES, description: 'The farthest place that gave a byte.' })
  source?: Source;

  @ApiProperty()
  bytesDone!: number;

  @ApiProperty()
  bytesTotal!: number;

  @ApiPropertyOptional({ description: 'The image in the runtime is not the one that the record names.' })
  drift?: boolean;

  @ApiProperty({ format: 'date-time' })
  since!: string;

  @ApiPropertyOptional({ enum: FAILURE_REASONS })
  reason?: FailureReason;

  @ApiPropertyOptional()
  message?: string;

  @ApiPropertyOptional({ format: 'date-time' })
  retryAt?: string;
}

export class InvalidLineDto {
  @ApiProperty({ minimum: 1 })
  line!: number;

  @ApiProperty()
  text!: string;

  @ApiProperty()
  reason!: string;
}

export class ImagesDto {
  @ApiProperty()
  node!: string;

  @ApiProperty({ type: [ImageStatusDto] })
  images!: ImageStatusDto[];

  @ApiProperty({ type: [InvalidLineDto] })
  invalidLines!: InvalidLineDto[];
}
