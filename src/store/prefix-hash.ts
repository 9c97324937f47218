import { createHash, type Hash } from 'node:crypto';

/**
 * The SHA-256 of a blob's first `bytes` bytes. It moves on by whole verified chunks only: a chunk is fed to a fork,
 * which takes this one's place once the chunk is complete and is forgotten when it is not.
 */
export class PrefixHash {
  private hash = createHash('sha256');
  private hashedBytes = 0;

  get bytes(): number {
    return this.hashedBytes;
  }

  /** A copy to feed with the bytes that follow, if `start` is where this one stands. */
  fork(start: number): Hash | undefined {
    return start === this.hashedBytes ? this.hash.copy() : undefined;
  }

  /** `fork` has been fed the `length` bytes that follow. */
  advance(fork: Hash, length: number): void {
    this.hash = fork;
    this.hashedBytes += length;
  }

  /** Of what was hashed so far, in hex. */
  digest(): string {
    return this.hash.copy().digest('hex');
  }
}
