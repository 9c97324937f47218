import { basename, dirname } from 'node:path';

import { Inject, Injectable, Logger, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';

import { Clock } from '../common/clock.js';
import { AppConfig } from '../config/app-config.js';
import { type Digest, digestOf } from '../domain/digest.js';
import { messageOf } from '../domain/errors.js';
import { PreheatMetrics } from '../metrics/preheat-metrics.js';
import { DirectoryWatch } from './directory-watch.js';
import type { ImageList, ImageListEntry, LineRemark } from './image-list.js';
import { type FileIdentity, identityOf, readListFile } from './list-file.js';
import { parseImageList } from './parse-image-list.js';

/** Events make a change take effect fast; this look makes it certain. */
export const POLL_INTERVAL_MS = 2_000;
/** A file must stay as it is for this long before it is read, so that half of a write is not taken for a list. */
const SETTLE_MS = 100;
const MAX_SETTLE_ROUNDS = 10;
const MAX_LOGGED_LINES = 20;

export interface ImageListSnapshot extends ImageList {
  /** Wall clock of the last good read; undefined while there has been none. */
  readonly loadedAtMs?: number;
  /** Why the file cannot be read now; the entries are then those of the last good read. */
  readonly error?: string;
}

/**
 * The image list as it stands in `IMAGE_LIST_PATH`, read anew by itself when that changes: by a write, by a rename
 * over it, by a swap of a ConfigMap's `..data` link, by its directory coming and going. An empty file is an empty
 * list; one that has vanished, is too large or cannot be read leaves the last list in force.
 */
@Injectable()
export class ImageListService implements OnModuleInit, OnModuleDestroy {
  private readonly logger = new Logger(ImageListService.name);
  private readonly stopping = new AbortController();
  private readonly listeners = new Set<(snapshot: ImageListSnapshot) => void>();
  private readonly watch: DirectoryWatch;
  private current: ImageListSnapshot = { entries: [], invalidLines: [], invalidLineCount: 0, warnings: [] };
  private identity: FileIdentity | undefined;
  private content: Digest | undefined;
  private checking: Promise<void> | undefined;
  private hints = 0;
  private hintsHandled = 0;
  private polling: Promise<void> | undefined;

  constructor(
    @Inject(AppConfig) private readonly config: AppConfig,
    @Inject(Clock) private readonly clock: Clock,
    private readonly metrics: PreheatMetrics,
  ) {
    const file = basename(config.imageListPath);
    this.watch = new DirectoryWatch(dirname(config.imageListPath), (name) => {
      // Archives are written in the same directory; a ConfigMap mount swaps `..data`.
      if (name === null || name === file || name.startsWith('..')) this.hint();
    });
  }

  get snapshot(): ImageListSnapshot {
    return this.current;
  }

  get entries(): readonly ImageListEntry[] {
    return this.current.entries;
  }

  /**
   * Calls `listener` after every read that brought another list. A listener that throws is logged and holds up nobody.
   * @returns how to unsubscribe
   */
  onChange(listener: (snapshot: ImageListSnapshot) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** The list is there, or known not to be, before the application listens. */
  async onModuleInit(): Promise<void> {
    await this.watch.renew();
    await this.check();
    this.polling = this.poll();
  }

  async onModuleDestroy(): Promise<void> {
    this.stopping.abort();
    this.watch.close();
    await Promise.all([this.polling, this.checking]);
    this.watch.close();
  }

  /** Something happened in the directory: read the file even if its identity looks the same. */
  private hint(): void {
    this.hints += 1;
    if (!this.checking && !this.stopping.signal.aborted) void this.check();
  }

  private async poll(): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      try {
        await this.clock.sleep(POLL_INTERVAL_MS, signal);
      } catch {
        return;
      }
      await this.watch.renew();
      await this.check();
    }
  }

  /** One check at a time; hints during one make another follow. */
  private check(): Promise<void> {
    this.checking ??= this.checkUntilQuiet().finally(() => (this.checking = undefined));
    return this.checking;
  }

  private async checkUntilQuiet(): Promise<void> {
    let seen: number;
    do {
      seen = this.hints;
      try {
        await this.reload(seen !== this.hintsHandled);
      } catch (error) {
        if (this.stopping.signal.aborted) return;
        this.keepLast(error);
      }
      this.hintsHandled = seen;
    } while (seen !== this.hints);
  }

  private async reload(forced: boolean): Promise<void> {
    let identity = await identityOf(this.config.imageListPath);
    if (!forced && identity === this.identity) return;
    // At the start there is no last list to protect, and no reason to be late.
    for (let round = 0; this.content !== undefined && round < MAX_SETTLE_ROUNDS; round += 1) {
      await this.clock.sleep(SETTLE_MS, this.stopping.signal);
      const later = await identityOf(this.config.imageListPath);
      if (later === identity) break;
      identity = later;
    }
    const { bytes, identity: readIdentity } = await readListFile(this.config.imageListPath);
    this.identity = readIdentity;
    this.accept(bytes);
  }

  private accept(bytes: Uint8Array): void {
    const content = digestOf(bytes);
    const changed = content !== this.content;
    const { error, ...last } = this.current;
    const list = changed ? parseImageList(bytes, this.config.platform) : last;
    const loadedAtMs = this.clock.wallMs();
    this.content = content;
    this.current = { ...list, loadedAtMs };
    this.metrics.imageList(list.entries.length, list.invalidLineCount, loadedAtMs);
    if (error !== undefined && !changed) this.logger.log('image list can be read again');
    if (!changed) return;
    this.report(list);
    for (const listener of this.listeners) {
      try {
        listener(this.current);
      } catch (failure) {
        this.logger.error({ err: failure }, 'a listener to the image list failed');
      }
    }
  }

  private keepLast(error: unknown): void {
    // A file that comes back just as it was must still be read, to clear the error.
    this.identity = undefined;
    const message = explain(error, this.config.imageListPath);
    if (message === this.current.error) return;
    this.current = { ...this.current, error: message };
    this.logger.warn({ reason: message }, 'image list cannot be read; the last one stays in force');
  }

  private report(list: ImageList): void {
    this.logger.log(
      { images: list.entries.length, invalidLines: list.invalidLineCount },
      'image list loaded',
    );
    const log = (remarks: readonly LineRemark[], message: string): void => {
      for (const remark of remarks.slice(0, MAX_LOGGED_LINES)) this.logger.warn(remark, message);
    };
    log(list.invalidLines, 'image list line does not parse');
    log(list.warnings, 'image list line is only understood in part');
  }
}

function explain(error: unknown, path: string): string {
  const code = error !== null && typeof error === 'object' && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT' || code === 'ENOTDIR') return `there is no file at ${path}`;
  if (code === 'EACCES' || code === 'EPERM') return `${path} may not be read by this user`;
  return messageOf(error);
}
