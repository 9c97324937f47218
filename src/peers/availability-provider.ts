import type { Digest } from '../domain/digest.js';
import type { Caller } from './access/caller.js';
import type { BlobAvailability } from './availability.js';

/** What this node has, for peers that ask; the data plane answers. */
export interface AvailabilityProvider {
  /**
   * What it has of each of `digests`, at most 2,048 of them; what it has nothing of is left out.
   * @param caller who asks; undefined when it did not say
   */
  describe(
    digests: readonly Digest[],
    caller: Caller | undefined,
  ): Promise<ReadonlyMap<Digest, BlobAvailability>>;
}
export const AvailabilityProvider = Symbol('AvailabilityProvider');
