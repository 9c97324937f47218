import { HttpStatus, Inject, Injectable, Logger, ServiceUnavailableException } from '@nestjs/common';
import { HealthCheckService, HealthIndicatorService } from '@nestjs/terminus';
import type { HealthCheckResult, HealthIndicatorResult } from '@nestjs/terminus';

import { abandonable } from '../common/abandonable.js';
import { withTimeout } from '../common/abort.js';
import { Clock } from '../common/clock.js';
import { AppError, messageOf, PreheatFailure } from '../domain/errors.js';
import { ReadinessChecks } from './readiness-checks.js';

/** Below the 5 s that the probe of a Pod waits. */
const CHECK_TIMEOUT_MS = 3_000;
/** Anyone may ask, as often as they like: the runtime and the disk are asked no more than this often. */
const REUSE_MS = 1_000;

type Check = (signal: AbortSignal) => Promise<void>;

/** Whether this agent can do its work, and if not, what is missing. */
@Injectable()
export class ReadinessService {
  private readonly logger = new Logger(ReadinessService.name);
  private latest: { readonly result: Promise<HealthCheckResult>; freshUntilMs: number } | undefined;
  private missing = '';

  constructor(
    @Inject(ReadinessChecks) private readonly checks: ReadinessChecks,
    @Inject(Clock) private readonly clock: Clock,
    private readonly health: HealthCheckService,
    private readonly indicators: HealthIndicatorService,
  ) {}

  /** @throws ServiceUnavailableException `NOT_READY` with the same fields as the result */
  read(): Promise<HealthCheckResult> {
    const nowMs = this.clock.monotonicMs();
    if (!this.latest || nowMs >= this.latest.freshUntilMs) {
      const latest = { result: this.ask(), freshUntilMs: Infinity };
      this.latest = latest;
      const settled = (): void => void (latest.freshUntilMs = this.clock.monotonicMs() + REUSE_MS);
      latest.result.then(settled, settled);
    }
    return this.latest.result;
  }

  private async ask(): Promise<HealthCheckResult> {
    try {
      const result = await this.health.check([
        () => this.indicate('imageList', (signal) => this.checks.imageList(signal)),
        () => this.indicate('runtime', (signal) => this.checks.runtime(signal)),
        () => this.indicate('store', (signal) => this.checks.store(signal)),
      ]);
      this.note('');
      return result;
    } catch (error) {
      if (!(error instanceof ServiceUnavailableException)) throw error;
      const result = error.getResponse() as HealthCheckResult;
      const missing = Object.keys(result.error ?? {}).join(', ');
      this.note(missing);
      throw new ServiceUnavailableException({
        statusCode: HttpStatus.SERVICE_UNAVAILABLE,
        code: 'NOT_READY',
        message: missing === '' ? 'Shutting down.' : `Not there: ${missing}.`,
        ...result,
      });
    }
  }

  private async indicate(name: string, check: Check): Promise<HealthIndicatorResult> {
    const indicator = this.indicators.check(name);
    const late = (): Error => new PreheatFailure('timeout', `no answer within ${CHECK_TIMEOUT_MS / 1000} s`);
    try {
      // A check that does not heed its signal must not hold up the answer.
      await withTimeout(CHECK_TIMEOUT_MS, late, (signal) => abandonable(check(signal), signal));
      return indicator.up();
    } catch (error) {
      return indicator.down({ message: error instanceof AppError ? messageOf(error) : 'the check failed' });
    }
  }

  /** One line when what is missing changes, not one per probe. */
  private note(missing: string): void {
    if (missing === this.missing) return;
    this.missing = missing;
    if (missing === '') this.logger.log('ready');
    else this.logger.warn({ missing }, 'not ready');
  }
}
