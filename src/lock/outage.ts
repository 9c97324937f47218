import type { Logger } from '@nestjs/common';

import { messageOf } from '../domain/errors.js';

/** Something that fails for a while: said once when it begins and once when it is over, however often it is met. */
export class Outage {
  private isLasting = false;

  constructor(
    private readonly logger: Logger,
    private readonly beginning: string,
    private readonly end: string,
  ) {}

  met(error: unknown): void {
    if (!this.isLasting) this.logger.warn({ error: messageOf(error) }, this.beginning);
    this.isLasting = true;
  }

  over(): void {
    if (this.isLasting) this.logger.log(this.end);
    this.isLasting = false;
  }
}
