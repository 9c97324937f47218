import { Injectable, Logger } from '@nestjs/common';

import { asPreheatFailure, messageOf } from '../domain/errors.js';
import type { ImageReference } from '../domain/image-reference.js';
import type { RuntimeSnapshot } from '../runtime/image-runtime.js';
import { PreheatRunner } from './preheat.runner.js';
import { ReadyImages } from './ready-images.js';
import { RuntimeInventory } from './runtime-inventory.js';
import { StatusStore } from './status.store.js';
import { Upkeep } from './upkeep.js';
import { idOf, keyOf, type WantedImage } from './wanted-image.js';
import { WantedImages } from './wanted-images.js';

interface Task {
  readonly wanted: WantedImage;
  readonly abort: AbortController;
  readonly done: Promise<void>;
}

/** Compares what is wanted with what the runtime has, and keeps one task per missing image until it is ready. */
@Injectable()
export class PreheatService {
  private readonly logger = new Logger(PreheatService.name);
  private readonly tasks = new Map<string, Task>();
  private stopped = false;

  constructor(
    private readonly wanted: WantedImages,
    private readonly inventory: RuntimeInventory,
    private readonly status: StatusStore,
    private readonly runner: PreheatRunner,
    private readonly ready: ReadyImages,
    private readonly upkeep: Upkeep,
  ) {}

  /**
   * One batch check: a single call to the runtime, then a task for each missing image that has none.
   * @param periodMs until the next one, at the latest
   */
  async check(periodMs: number, signal: AbortSignal): Promise<void> {
    const wanted = this.wanted.all();
    this.upkeep.protectWanted();
    await this.dropUnwanted(wanted);
    for (const image of wanted)
      if (!this.status.get(keyOf(image))) this.status.enter(keyOf(image), 'pending');
    const snapshot = await this.look(wanted, periodMs, signal);
    if (!snapshot) return;
    for (const image of wanted) {
      if (this.tasks.has(idOf(image))) continue;
      if (await this.needsTask(image, snapshot, signal)) this.start(image);
    }
    await this.upkeep.tidy(snapshot, signal);
  }

  /** Remembers these beside the list; the next check begins with them. */
  request(references: readonly ImageReference[]): void {
    this.wanted.request(references);
  }

  /** Ends every task: transfers are aborted, locks given back. No new ones begin. */
  async stop(): Promise<void> {
    this.stopped = true;
    const tasks = [...this.tasks.values()];
    for (const { abort } of tasks) abort.abort(new Error('the agent is stopping'));
    await Promise.allSettled(tasks.map(({ done }) => done));
  }

  /** Undefined when the runtime does not answer; every image that nobody is working on then says so. */
  private async look(
    wanted: readonly WantedImage[],
    periodMs: number,
    signal: AbortSignal,
  ): Promise<RuntimeSnapshot | undefined> {
    try {
      return await this.inventory.snapshot(signal);
    } catch (error) {
      signal.throwIfAborted();
      const failure = asPreheatFailure(error);
      for (const image of wanted)
        if (!this.tasks.has(idOf(image))) this.status.fail(keyOf(image), failure, periodMs);
      return undefined;
    }
  }

  /** One image that cannot be looked at must not keep the others from being fetched. */
  private async needsTask(
    image: WantedImage,
    snapshot: RuntimeSnapshot,
    signal: AbortSignal,
  ): Promise<boolean> {
    try {
      const { kind } = await this.ready.recognise(image, snapshot, signal);
      if (kind !== 'missing') this.wanted.fulfil(image);
      else if (this.wanted.isFulfilled(image)) return this.letGo(image);
      return kind !== 'ready';
    } catch (error) {
      signal.throwIfAborted();
      this.logger.warn({ image: image.image, error: messageOf(error) }, 'an image could not be looked at');
      return false;
    }
  }

  /** It was requested once, was ready once, and was removed since: that is for whoever removed it to decide. */
  private letGo(image: WantedImage): false {
    this.wanted.withdraw(image);
    this.forgetUnwanted(image);
    return false;
  }

  private start(wanted: WantedImage): void {
    if (this.stopped) return;
    const abort = new AbortController();
    const done = this.runner
      .run(wanted, abort.signal)
      .then(() => this.wanted.fulfil(wanted))
      .catch((error: unknown) => {
        if (!abort.signal.aborted)
          this.logger.error({ image: wanted.image, error: messageOf(error) }, 'a task died');
      })
      .finally(() => {
        this.tasks.delete(idOf(wanted));
        // What it did on its way out may have brought back what was forgotten when the image left the list.
        this.forgetUnwanted(wanted);
      });
    this.tasks.set(idOf(wanted), { wanted, abort, done });
  }

  /** What left the list is let go: its task ends, its status and series disappear. The image itself stays. */
  private async dropUnwanted(wanted: readonly WantedImage[]): Promise<void> {
    const ids = new Set(wanted.map(idOf));
    const images = new Set(wanted.map(({ image }) => image));
    const dropped = [...this.tasks].filter(([id]) => !ids.has(id)).map(([, task]) => task);
    for (const { abort } of dropped) abort.abort(new Error('the image left the list'));
    await Promise.allSettled(dropped.map(({ done }) => done));
    for (const { image, platform } of this.status.list()) {
      if (!ids.has(`${image} ${platform}`)) this.status.forget({ image, platform }, !images.has(image));
    }
  }

  private forgetUnwanted(wanted: WantedImage): void {
    const left = this.wanted.all();
    if (!left.some((other) => idOf(other) === idOf(wanted)))
      this.status.forget(keyOf(wanted), !left.some(({ image }) => image === wanted.image));
  }
}
