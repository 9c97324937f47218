import { abandonable } from '../common/abandonable.js';

/** Who writes which chunk: one at a time, so that the bytes of two sources never mix in one chunk. */
export class ChunkClaims {
  private readonly held = new Map<number, Promise<undefined>>();

  /** Waits until nobody else holds chunk `index`. @returns what gives it back */
  async claim(index: number, signal: AbortSignal): Promise<() => void> {
    for (let other = this.held.get(index); other; other = this.held.get(index))
      await abandonable(other, signal);
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.held.set(index, promise);
    return () => {
      this.held.delete(index);
      resolve(undefined);
    };
  }
}
