import { anySignal, StallTimer } from '../common/abort.js';
import { abandonable } from '../common/abandonable.js';
import type { Digest } from '../domain/digest.js';
import type { MirrorServer, MirrorSession } from '../mirror/mirror.server.js';
import type { ImageRuntime } from '../runtime/image-runtime.js';
import type { Arrivals } from './arrivals.js';

/** The runtime downloads three layers at a time, of all images: a transfer that brings nothing must not keep a Pod's pull waiting. */
const STALL_MS = 5_000;

/**
 * A pull of an image whose last blobs are still arriving: the runtime unpacks the lower layers meanwhile. It is given
 * complete blobs only, each of which it waits for, under the name of the pull alone. Whatever becomes of it, the image
 * is loaded afterwards: this can only save time.
 */
export class EarlyPull {
  private readonly stop = new AbortController();
  private readonly stall = new StallTimer(STALL_MS, () => new Error('nothing arrives any more'));
  private readonly session: MirrorSession;
  /** Whether the runtime has the image. */
  private readonly pulled: Promise<boolean>;
  private onProgress = (): void => undefined;

  constructor(
    /** What the runtime pulls; its manifests are in the store. */
    readonly root: Digest,
    private readonly arrivals: Arrivals,
    runtime: Pick<ImageRuntime, 'pull'>,
    mirror: Pick<MirrorServer, 'open'>,
  ) {
    const signal = anySignal(this.stop.signal, this.stall.signal);
    this.session = mirror.open(root, (digest, gone) => arrivals.wait(digest, anySignal(gone, signal)));
    this.pulled = runtime
      .pull(this.session.name, signal, () => this.onProgress())
      .then(
        () => true,
        () => false,
      );
  }

  /** Bytes arrived, or a blob has: there is hope. */
  touch(): void {
    if (this.arrivals.areOver) this.stall.stop();
    else this.stall.touch();
  }

  /** All blobs are in the store. @returns the name under which the runtime has the image; undefined when it has not */
  async finish(signal: AbortSignal, onProgress: () => void): Promise<string | undefined> {
    this.stall.stop();
    this.onProgress = onProgress;
    return (await abandonable(this.pulled, signal)) ? this.session.name : undefined;
  }

  /** Takes the name back and, while the pull goes on, ends it. */
  async end(): Promise<void> {
    this.stall.stop();
    this.stop.abort(new Error('the pull has ended, or is of no use'));
    await this.pulled;
    this.session.close();
  }
}
