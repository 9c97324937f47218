import { Inject, Injectable, type OnModuleDestroy } from '@nestjs/common';

import { Clock } from '../common/clock.js';
import { AppConfig } from '../config/app-config.js';
import { PeerDirectory } from './peer-directory.js';

/** Never busier than this, however many addresses wait for another attempt. */
const MIN_PAUSE_MS = 250;

/** Looks for peers every `PEER_DISCOVERY_INTERVAL`, and in between for those that did not answer, as their turn comes. */
@Injectable()
export class PeerRefreshService implements OnModuleDestroy {
  private readonly stopping = new AbortController();
  private running: Promise<void> | undefined;

  constructor(
    private readonly directory: PeerDirectory,
    @Inject(AppConfig) private readonly config: AppConfig,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  /** Called once the agent answers its peers: of two that look for each other, the later one must find the other. */
  start(): void {
    this.running = this.run(this.stopping.signal).catch(() => undefined);
  }

  async onModuleDestroy(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  private async run(signal: AbortSignal): Promise<void> {
    for (;;) {
      const nextDiscoveryMs = this.clock.monotonicMs() + this.config.peers.intervalMs;
      await this.directory.refresh(signal);
      for (;;) {
        const wakeMs = Math.min(nextDiscoveryMs, this.directory.nextAttemptMs() ?? Infinity);
        await this.clock.sleep(Math.max(MIN_PAUSE_MS, wakeMs - this.clock.monotonicMs()), signal);
        if (this.clock.monotonicMs() >= nextDiscoveryMs) break;
        await this.directory.meetNew(signal);
      }
    }
  }
}
