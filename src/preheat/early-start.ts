import type { Digest } from '../domain/digest.js';
import type { ArrivingImage } from '../transfer/transfer-request.js';
import { Arrivals } from './arrivals.js';
import type { EarlyPull } from './early-pull.js';

/**
 * Lets the runtime begin with an image once the first of its missing layers is there: before that it would only keep
 * places for downloads that others want. Once in a session, since a pull that is given up costs what it had unpacked.
 */
export class EarlyStart {
  private arriving: { readonly image: ArrivingImage; readonly arrivals: Arrivals } | undefined;
  private hasBegun = false;
  private begun: EarlyPull | undefined;

  constructor(private readonly begin: (root: Digest, arrivals: Arrivals) => EarlyPull) {}

  /** The pull that began and was not given up. */
  get pull(): EarlyPull | undefined {
    return this.begun;
  }

  fetching(image: ArrivingImage): void {
    this.arriving = { image, arrivals: new Arrivals(image.missing) };
  }

  stored(digest: Digest): void {
    if (!this.arriving) return;
    const { image, arrivals } = this.arriving;
    arrivals.arrived(digest);
    this.touch();
    if (this.hasBegun || arrivals.areOver || digest === image.config) return;
    this.hasBegun = true;
    this.begun = this.begin(image.root, arrivals);
  }

  /** Something arrived. */
  touch(): void {
    this.begun?.touch();
  }

  /** Gives up a pull of anything but `root`; without one, any. */
  async keepOnly(root?: Digest): Promise<void> {
    const { begun } = this;
    if (!begun || begun.root === root) return;
    this.begun = undefined;
    await begun.end();
  }
}
