import { Inject, Injectable, Logger, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';

import { Clock } from '../../common/clock.js';
import { AppConfig } from '../../config/app-config.js';
import { messageOf } from '../../domain/errors.js';
import { isSameMaterial, readTlsFiles, type TlsMaterial } from './tls-files.js';

const POLL_MS = 5_000;

/** The files of mutual TLS, read at start and again when they change. Without `TLS_*` there is nothing of it. */
@Injectable()
export class AgentCertificates implements OnModuleInit, OnModuleDestroy {
  private readonly logger = new Logger(AgentCertificates.name);
  private readonly stopping = new AbortController();
  private readonly listeners: ((material: TlsMaterial) => void)[] = [];
  private material: TlsMaterial | undefined;
  private running: Promise<void> | undefined;

  constructor(
    @Inject(AppConfig) private readonly config: Pick<AppConfig, 'tls'>,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  /** What new connections are made with; undefined where they are plain. */
  get current(): TlsMaterial | undefined {
    return this.material;
  }

  /** @param listener called with what the files hold from now on, each time that they have changed */
  onChange(listener: (material: TlsMaterial) => void): void {
    this.listeners.push(listener);
  }

  /** @throws InvalidInputError `INVALID_CERTIFICATE`: bad files stop the start */
  async onModuleInit(): Promise<void> {
    if (!this.config.tls) return;
    this.material = await readTlsFiles(this.config.tls);
    this.running = this.watch();
  }

  async onModuleDestroy(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  /** Files that cannot be used, perhaps since only one of them was replaced so far, leave those before in use. */
  async reload(): Promise<void> {
    const { tls } = this.config;
    const read = tls && (await readTlsFiles(tls));
    if (!read || (this.material && isSameMaterial(read, this.material))) return;
    this.material = read;
    for (const listener of this.listeners) listener(read);
    this.logger.log('The certificates of this agent were changed');
  }

  private async watch(): Promise<void> {
    let failing = false;
    while (await this.pause()) {
      try {
        await this.reload();
        failing = false;
      } catch (error) {
        // Said once for as long as it lasts.
        if (!failing) this.logger.warn({ error: messageOf(error) }, 'The certificates could not be read');
        failing = true;
      }
    }
  }

  /** False when it is time to stop. */
  private async pause(): Promise<boolean> {
    await this.clock.sleep(POLL_MS, this.stopping.signal).catch(() => undefined);
    return !this.stopping.signal.aborted;
  }
}
