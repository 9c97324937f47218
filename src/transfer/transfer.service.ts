import { Inject, Injectable } from '@nestjs/common';

import { SessionParts } from './session-parts.js';
import type { TransferRequest } from './transfer-request.js';
import { TransferSession } from './transfer-session.js';

/** Brings images into the store, from wherever their bytes are nearest. */
@Injectable()
export class TransferService {
  constructor(@Inject(SessionParts) private readonly parts: SessionParts) {}

  /** @param onProgress called with the number of bytes whenever some arrived; the caller must `release` the session */
  begin(request: TransferRequest, onProgress: (count: number) => void): TransferSession {
    return new TransferSession(request, this.parts, onProgress);
  }
}
