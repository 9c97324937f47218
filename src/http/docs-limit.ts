import { HttpException, HttpStatus, Inject, Injectable } from '@nestjs/common';
import type { Request, Response } from 'express';

import { AppConfig } from '../config/app-config.js';
import { RequestCounts } from './request-counts.js';

const WINDOW_MS = 1000;

/** `API_RATE_LIMIT` for the pages of the API's documentation, which no guard of Nest's sees. */
@Injectable()
export class DocsLimit {
  constructor(
    @Inject(AppConfig) private readonly config: AppConfig,
    private readonly counts: RequestCounts,
  ) {}

  /** @throws HttpException 429 */
  check({ ip = '' }: Request, response: Response): void {
    const { apiRequestsPerSecond } = this.config.limits;
    if (apiRequestsPerSecond === 0) return;
    const { isBlocked, timeToExpire } = this.counts.count(ip, WINDOW_MS, apiRequestsPerSecond);
    if (!isBlocked) return;
    response.setHeader('Retry-After', String(timeToExpire));
    throw new HttpException('too many requests', HttpStatus.TOO_MANY_REQUESTS);
  }
}
