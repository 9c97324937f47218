import { abandonable } from '../common/abandonable.js';
import type { Digest } from '../domain/digest.js';

/** The blobs of one image that are still on their way into the store. */
export class Arrivals {
  private readonly missing: Map<Digest, PromiseWithResolvers<undefined>>;

  constructor(missing: Iterable<Digest>) {
    this.missing = new Map([...missing].map((digest) => [digest, Promise.withResolvers<undefined>()]));
  }

  get areOver(): boolean {
    return this.missing.size === 0;
  }

  /** It is in the store, whole and verified. */
  arrived(digest: Digest): void {
    this.missing.get(digest)?.resolve(undefined);
    this.missing.delete(digest);
  }

  /** Resolves when `digest` is in the store; at once when it is not on its way. @throws the signal's reason */
  async wait(digest: Digest, signal: AbortSignal): Promise<void> {
    const arrival = this.missing.get(digest);
    if (arrival) await abandonable(arrival.promise, signal);
  }
}
