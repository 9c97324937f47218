import { Logger } from '@nestjs/common';

import type { AppConfig } from './config/app-config.js';

/** Kubernetes waits 30 s before it kills; a node that drains should not wait at all. */
const SHUTDOWN_LIMIT_MS = 9_500;

/** What there is to end. */
export interface Stoppable {
  stop(): Promise<void>;
}

/**
 * The process around the agent: what ends it, and what does not. A signal, or an exception that nobody caught, ends it
 * in order, so that locks are given back. A rejected promise that nobody waited for is an error in the log and no more:
 * no code was broken off by it, and a node whose agent restarts over and over is worse off than one with a loose end.
 */
export class AgentLifetime {
  private readonly logger = new Logger('Agent');
  private readonly ending = new AbortController();
  private agent: Stoppable | undefined;

  /** @param exit ends the process at once */
  constructor(private readonly exit: (code: number) => void) {}

  get isEnding(): boolean {
    return this.ending.signal.aborted;
  }

  watch(): void {
    // Once: who asks twice does not want to wait.
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => void this.end(0));
    process.on('unhandledRejection', (reason) => {
      this.logger.error({ err: reason }, 'a promise was rejected that nobody waited for');
    });
    process.once('uncaughtException', (error) => {
      this.logger.fatal({ err: error }, 'nobody caught an exception: the agent stops');
      void this.end(1);
    });
  }

  /** Starts the agent; when the end comes first, the start is given up. @throws what `start` throws, and the signal's reason */
  async begin(start: (signal: AbortSignal) => Promise<Stoppable>): Promise<void> {
    this.agent = await start(this.ending.signal);
    if (!this.isEnding) return;
    await this.agent.stop();
    this.ending.signal.throwIfAborted();
  }

  announce({ nodeName, podIp, port, runtime }: AppConfig, version: string): void {
    const address = `${podIp.includes(':') ? `[${podIp}]` : podIp}:${port}`;
    this.logger.log(
      { node: nodeName, address, runtime: runtime.kind ?? 'detected', version },
      'agent started',
    );
  }

  warn(warnings: readonly string[]): void {
    for (const warning of warnings) this.logger.warn({ warning }, 'a setting deserves a look');
  }

  private async end(exitCode: number): Promise<void> {
    process.exitCode = exitCode;
    // Whatever still hangs then is left to the next start: the store is fit for that at any moment.
    setTimeout(() => this.exit(1), SHUTDOWN_LIMIT_MS).unref();
    this.ending.abort(new Error('the agent is asked to end'));
    try {
      await this.agent?.stop();
    } catch (error) {
      this.logger.error({ err: error }, 'the agent could not be stopped in order');
      this.exit(1);
    }
  }
}
