import { Injectable } from '@nestjs/common';

import type { Digest } from '../domain/digest.js';
import type { OriginMark } from './claim.js';

/** The blobs that this node reads from the registry, or means to: part of every availability answer. */
@Injectable()
export class OriginClaims {
  private readonly marks = new Map<Digest, OriginMark>();

  of(digest: Digest): OriginMark | undefined {
    return this.marks.get(digest);
  }

  set(digest: Digest, mark: OriginMark): void {
    this.marks.set(digest, mark);
  }

  drop(digest: Digest): void {
    this.marks.delete(digest);
  }
}
