import type { Digest } from '../domain/digest.js';
import type { Caller } from './access/caller.js';
import type { AvailabilityAnswer } from './availability.js';

/** What this node has, for peers that ask; the data plane answers. */
export interface AvailabilityProvider {
  /**
   * What it has of each of `digests`, at most 2,048 of them; what it has nothing of is left out. Beside that some nodes
   * that are after the same.
   * @param caller who asks; undefined when it did not say
   */
  describe(
    digests: readonly Digest[],
    caller: Caller | undefined,
  ): Promise<Pick<AvailabilityAnswer, 'blobs' | 'participants'>>;
}
export const AvailabilityProvider = Symbol('AvailabilityProvider');
