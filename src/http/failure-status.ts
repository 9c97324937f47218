import { HttpStatus } from '@nestjs/common';

import type { FailureReason } from '../domain/preheat-state.js';

/** What a failure reason is to whoever asked over HTTP: theirs (4xx), an upstream's (502, 504), or ours for now (503, 507). */
export const FAILURE_STATUS: Readonly<Record<FailureReason, HttpStatus>> = {
  not_found: HttpStatus.NOT_FOUND,
  platform_not_supported: HttpStatus.NOT_FOUND,
  unauthorized: HttpStatus.BAD_GATEWAY,
  rate_limited: HttpStatus.SERVICE_UNAVAILABLE,
  registry_unreachable: HttpStatus.BAD_GATEWAY,
  registry_error: HttpStatus.BAD_GATEWAY,
  lock_unavailable: HttpStatus.SERVICE_UNAVAILABLE,
  lock_full: HttpStatus.SERVICE_UNAVAILABLE,
  no_source: HttpStatus.SERVICE_UNAVAILABLE,
  corrupt: HttpStatus.BAD_GATEWAY,
  timeout: HttpStatus.GATEWAY_TIMEOUT,
  insufficient_disk: HttpStatus.INSUFFICIENT_STORAGE,
  store_full: HttpStatus.INSUFFICIENT_STORAGE,
  runtime_unreachable: HttpStatus.SERVICE_UNAVAILABLE,
  runtime_error: HttpStatus.BAD_GATEWAY,
  archive_invalid: HttpStatus.BAD_GATEWAY,
};
