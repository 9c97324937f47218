import { createHash } from 'node:crypto';

type Key = readonly (string | number)[];

/**
 * Chance by name: the same seed and key give the same number, whenever and in whichever order they are asked for. So what
 * is decided of one event does not depend on how those before it were interleaved.
 */
export class KeyedChance {
  private readonly turns = new Map<string, number>();

  constructor(readonly seed: number) {}

  /** From 0 up to, not including, 1. */
  fraction(...key: Key): number {
    const text = [this.seed, ...key].join('\0');
    return createHash('sha256').update(text).digest().readUInt32BE() / 2 ** 32;
  }

  /** From 0 up to, not including, `below`. */
  whole(below: number, ...key: Key): number {
    return Math.floor(this.fraction(...key) * below);
  }

  pick<T>(from: readonly [T, ...T[]], ...key: Key): T {
    return from[this.whole(from.length, ...key)] ?? from[0];
  }

  /** True with `probability`. */
  hits(probability: number, ...key: Key): boolean {
    return this.fraction(...key) < probability;
  }

  /** The how-manieth time this key comes, from 0 on: what makes one event of many alike. */
  turn(...key: Key): number {
    const text = key.join('\0');
    const turn = this.turns.get(text) ?? 0;
    this.turns.set(text, turn + 1);
    return turn;
  }
}
