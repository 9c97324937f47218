import { hkdfSync } from 'node:crypto';

import { Inject, Injectable, Logger, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';

import { backoffMs } from '../../common/backoff.js';
import { Clock } from '../../common/clock.js';
import { InvalidInputError, messageOf } from '../../domain/errors.js';
import { KeySource } from './key-source.js';

/** How long the key before still counts after a change: every agent has read the new one by then. */
const GRACE_MS = 15 * 60_000;
/** Strangers can fail handshakes at will: they cannot make us ask for the Secret more often than this. */
const MIN_SUSPECT_INTERVAL_MS = 30_000;
const LOAD_RETRY = { initialMs: 1_000, maxMs: 60_000 };

interface OldKey {
  readonly key: Buffer;
  readonly untilMs: number;
}

/**
 * The shared secrets of the deployment: the peers' key and the API token, read at start and again when they change.
 * Nobody gets the key itself: each use has a key of its own, derived from it.
 */
@Injectable()
export class ClusterKey implements OnModuleInit, OnModuleDestroy {
  private readonly logger = new Logger(ClusterKey.name);
  private readonly stopping = new AbortController();
  private current: Buffer | undefined;
  private previous: OldKey | undefined;
  private token: string | undefined;
  private running: Promise<void> | undefined;
  private wake = new AbortController();
  private suspectedMs = -Infinity;
  private readonly derived = new Map<string, Buffer>();

  constructor(
    @Inject(KeySource) private readonly source: KeySource,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  /** What `Authorization: Bearer` must carry; undefined when none is configured or none could be read yet. */
  get apiToken(): string | undefined {
    return this.token;
  }

  /**
   * Keys of 32 bytes for one use, the newest first: make with the first, accept all. Empty when there is no peer key,
   * or none could be read yet.
   * @param purpose names the use; keys of different purposes tell nothing of each other
   */
  keysFor(purpose: string): readonly Buffer[] {
    const previous =
      this.previous && this.previous.untilMs > this.clock.monotonicMs() ? this.previous.key : undefined;
    return [this.current, previous]
      .filter((key) => key !== undefined)
      .map((key) => this.derive(key, purpose));
  }

  /** Somebody used another key than ours: perhaps it was changed. Looks again soon, not more often than every 30 s. */
  suspect(): void {
    const nowMs = this.clock.monotonicMs();
    if (nowMs - this.suspectedMs < MIN_SUSPECT_INTERVAL_MS) return;
    this.suspectedMs = nowMs;
    this.wake.abort();
  }

  /** Reads the secrets once. Throws what the source throws. */
  async reload(signal: AbortSignal): Promise<void> {
    const { peerKey, apiToken } = await this.source.load(signal);
    this.token = apiToken;
    if (peerKey && this.current && !peerKey.equals(this.current)) {
      this.previous = { key: this.current, untilMs: this.clock.monotonicMs() + GRACE_MS };
      this.derived.clear();
      this.logger.log({ graceMs: GRACE_MS }, 'The peer key was changed');
    }
    this.current = peerKey;
  }

  /**
   * Bad files stop the start; an API server that does not answer is asked until it does, and meanwhile the key of the
   * last run serves. If that one was changed since, it still counts for its time of grace, as any key before.
   */
  async onModuleInit(): Promise<void> {
    let loaded = false;
    try {
      await this.reload(this.stopping.signal);
      loaded = true;
    } catch (error) {
      if (error instanceof InvalidInputError) throw error;
      this.logger.warn({ error: messageOf(error) }, 'The peer key could not be read');
      await this.recall();
    }
    this.running = this.watch(loaded);
  }

  async onModuleDestroy(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  private async recall(): Promise<void> {
    this.current = (await this.source.recall?.())?.peerKey;
    if (this.current) this.logger.log('The peer key of the last run serves until it can be read');
  }

  private async watch(loaded: boolean): Promise<void> {
    let failures = loaded ? 0 : 1;
    while (await this.pause(failures === 0 ? this.source.pollIntervalMs : backoffMs(failures, LOAD_RETRY))) {
      try {
        await this.reload(this.stopping.signal);
        failures = 0;
      } catch (error) {
        failures += 1;
        // Said once per outage: what was read before stays in use.
        if (failures === 1) this.logger.warn({ error: messageOf(error) }, 'The peer key could not be read');
      }
    }
  }

  /** Waits, or until woken. False when it is time to stop. */
  private async pause(durationMs: number): Promise<boolean> {
    this.wake = new AbortController();
    const signal = AbortSignal.any([this.wake.signal, this.stopping.signal]);
    await this.clock.sleep(durationMs, signal).catch(() => undefined);
    return !this.stopping.signal.aborted;
  }

  private derive(key: Buffer, purpose: string): Buffer {
    const name = `${key === this.current ? 'current' : 'previous'} ${purpose}`;
    const known = this.derived.get(name);
    if (known) return known;
    const made = Buffer.from(hkdfSync('sha256', key, '', `image-preheat ${purpose}`, 32));
    this.derived.set(name, made);
    return made;
  }
}
