import type { Digest } from '../domain/digest.js';
import type { Giver, SwarmBlob } from './swarm/swarm-blob.js';

interface Suspect {
  readonly giver: Giver;
  readonly index: number;
  readonly hash: string;
}

/**
 * Blobs that several gave chunks of and that failed their digest. Who is to blame shows when the blob has come again, from
 * one source alone: those whose bytes were others. Whoever only handed on a hash is not.
 */
export class Suspects {
  private readonly byBlob = new Map<Digest, readonly Suspect[]>();

  /** `blob` has failed its digest. */
  note({ digest, givers, partial }: SwarmBlob): void {
    const suspects = [...givers].map(([index, giver]) => ({
      giver,
      index,
      hash: partial.chunkHashes[index] ?? '',
    }));
    this.byBlob.set(digest, suspects);
  }

  has(digest: Digest): boolean {
    return this.byBlob.has(digest);
  }

  /**
   * @param hashes of the blob's chunks, now that it is known to be right; where there is none, nobody can be convicted
   * @returns who gave others, each once
   */
  convict(digest: Digest, hashes: readonly string[]): Giver[] {
    const guilty = new Map<string, Giver>();
    for (const { giver, index, hash } of this.byBlob.get(digest) ?? [])
      if (hashes[index] !== undefined && hash !== hashes[index])
        guilty.set(giver.instance ?? giver.name, giver);
    this.byBlob.delete(digest);
    return [...guilty.values()];
  }
}
