import { Inject, Injectable } from '@nestjs/common';

import { SessionParts } from './session-parts.js';
import type { TransferListener, TransferRequest } from './transfer-request.js';
import { TransferSession } from './transfer-session.js';

/** Brings images into the store, from wherever their bytes are nearest. */
@Injectable()
export class TransferService {
  constructor(@Inject(SessionParts) private readonly parts: SessionParts) {}

  /** The caller must `release` the session. */
  begin(request: TransferRequest, listener: TransferListener): TransferSession {
    return new TransferSession(request, this.parts, listener);
  }
}
