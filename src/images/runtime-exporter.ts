import type { Readable } from 'node:stream';

import { Inject, Injectable } from '@nestjs/common';

import { anySignal } from '../common/abort.js';
import { Clock } from '../common/clock.js';
import { RuntimeInventory } from '../preheat/runtime-inventory.js';
import { runtimeName, type WantedImage } from '../preheat/wanted-image.js';
import { ImageRuntime } from '../runtime/image-runtime.js';
import { type Pin, StoreSpace } from '../store/store-space.js';
import { exportUnderWay } from './image-errors.js';

/** Whoever asks while another export is under way waits this long for its end. */
const TURN_MS = 60_000;

/**
 * Exports by the container runtime, one at a time and under the disk guard: `docker save` of the classic store writes the
 * whole image to the runtime's disk before it sends the first byte.
 */
@Injectable()
export class RuntimeExporter {
  /** Settles when whoever came last has ended. */
  private last: Promise<void> = Promise.resolve();

  constructor(
    @Inject(ImageRuntime) private readonly runtime: ImageRuntime,
    private readonly inventory: RuntimeInventory,
    private readonly space: StoreSpace,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  /**
   * The image as a tar. The next export begins when this stream has closed.
   * @throws HttpException 429 when another export takes too long
   * @throws PreheatFailure `insufficient_disk`, `not_found`, `runtime_unreachable`, `runtime_error`
   */
  async open(wanted: WantedImage, signal: AbortSignal): Promise<Readable> {
    const leave = await this.takeTurn(signal);
    let room: Pin | undefined;
    const end = (): void => {
      room?.release();
      leave();
    };
    try {
      room = await this.reserve(wanted, signal);
      const stream = await this.runtime.export(runtimeName(wanted), signal);
      if (stream.closed) end();
      else stream.once('close', end);
      return stream;
    } catch (error) {
      end();
      throw error;
    }
  }

  private async reserve(wanted: WantedImage, signal: AbortSignal): Promise<Pin | undefined> {
    const { images, rootDirectory } = await this.inventory.snapshot(signal);
    const stagedBytes = images.get(runtimeName(wanted))?.stagedBytes;
    if (rootDirectory === undefined || stagedBytes === undefined) return undefined;
    return this.space.reserve(wanted.image, { directory: rootDirectory, sizeBytes: stagedBytes });
  }

  private async takeTurn(signal: AbortSignal): Promise<() => void> {
    const before = this.last;
    const turn = Promise.withResolvers<undefined>();
    this.last = before.then(() => turn.promise);
    const waited = new AbortController();
    const late = this.clock.sleep(TURN_MS, anySignal(signal, waited.signal)).then(() => {
      throw exportUnderWay();
    });
    late.catch(() => undefined);
    try {
      await Promise.race([before, late]);
      return () => turn.resolve(undefined);
    } catch (error) {
      turn.resolve(undefined);
      throw error;
    } finally {
      waited.abort();
    }
  }
}
