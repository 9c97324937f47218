import { Inject, Injectable, Logger } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';

import { AppConfig } from '../config/app-config.js';
import { messageOf } from '../domain/errors.js';
import { ImageListService } from '../image-list/image-list.service.js';
import { PreheatService } from './preheat.service.js';

const INTERVAL_NAME = 'preheat-check';

/**
 * Triggers the batch check: at start, every `INTERVAL`, and at once when the list changed or a request came in. Checks
 * never overlap, and the application does not shut down under a running one: Nest's own timers grant neither.
 */
@Injectable()
export class PreheatScheduler {
  private readonly logger = new Logger(PreheatScheduler.name);
  private readonly stopping = new AbortController();
  private running: Promise<void> | undefined;
  private again = false;
  private unsubscribe: (() => void) | undefined;

  constructor(
    @Inject(AppConfig) private readonly config: AppConfig,
    private readonly timers: SchedulerRegistry,
    private readonly list: ImageListService,
    private readonly preheat: PreheatService,
  ) {}

  /** Called once the agent answers its peers. */
  start(): void {
    this.timers.addInterval(
      INTERVAL_NAME,
      setInterval(() => this.trigger(), this.config.intervalMs),
    );
    this.unsubscribe = this.list.onChange(() => this.trigger());
    this.trigger();
  }

  /** Checks now; while a check runs, once more after it. */
  trigger(): void {
    if (this.stopping.signal.aborted) return;
    if (this.running) {
      this.again = true;
      return;
    }
    this.running = this.run().finally(() => {
      this.running = undefined;
      if (this.again) {
        this.again = false;
        this.trigger();
      }
    });
  }

  /** No new checks; the running one and all tasks end. May be called without `start`. */
  async stop(): Promise<void> {
    this.stopping.abort(new Error('the agent is stopping'));
    this.unsubscribe?.();
    if (this.timers.doesExist('interval', INTERVAL_NAME)) this.timers.deleteInterval(INTERVAL_NAME);
    // Together: a check that waits for a runtime which hangs must not keep the tasks from giving their locks back.
    await Promise.all([this.preheat.stop(), this.running]);
  }

  private async run(): Promise<void> {
    try {
      await this.preheat.check(this.config.intervalMs, this.stopping.signal);
    } catch (error) {
      if (!this.stopping.signal.aborted) this.logger.error({ error: messageOf(error) }, 'a check failed');
    }
  }
}
