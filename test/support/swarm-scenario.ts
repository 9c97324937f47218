import type { KeyedChance } from './keyed-chance.js';
import type { Character } from './swarm-faults.js';

/** What is done to a node, once it has received a part of an image. */
export interface Blow {
  /** Undefined: whoever holds the image's lock. */
  readonly node: string | undefined;
  readonly kind: 'kill' | 'lose_lease';
  /** Of the bytes of the first image. */
  readonly afterPart: number;
  /** Until it is started again, milliseconds; undefined when it is not. */
  readonly restartAfterMs: number | undefined;
}

/** What one seed means. */
export interface Scenario {
  readonly characters: readonly Character[];
  /** A node that has everything from the beginning. */
  readonly filled: number | undefined;
  /** Of the answers that something happens to. */
  readonly rate: number;
  readonly ranges: boolean;
  readonly blows: readonly Blow[];
}

export function scenarioOf(chance: KeyedChance): Scenario {
  const count = 3 + chance.whole(4, 'nodes');
  const ranges = chance.hits(0.75, 'ranges');
  const filled = chance.hits(0.25, 'filled') ? 0 : undefined;
  const honest = Array.from({ length: count }, (): Character => 'honest');
  if (chance.hits(0.1, 'clean')) return { characters: honest, filled, rate: 0, ranges: true, blows: [] };
  const characters = honest.map((character, at): Character => {
    // One is honest, and so is the registry: what everybody needs can be had.
    if (at === 0 || !chance.hits(0.35, 'character', at)) return character;
    return chance.pick(['flipper', 'liar', 'boaster'], 'which character', at);
  });
  const blows = Array.from({ length: chance.whole(4, 'blows') }, (_, at): Blow => {
    const isHolders = chance.hits(0.5, 'blow at the holder', at);
    return {
      node: isHolders ? undefined : `node-${chance.whole(count, 'blow at', at)}`,
      kind: isHolders && chance.hits(0.3, 'lease', at) ? 'lose_lease' : 'kill',
      afterPart: chance.fraction('blow after', at) * 0.9,
      restartAfterMs: chance.hits(0.8, 'restart', at)
        ? 200 + chance.whole(3000, 'restart after', at)
        : undefined,
    };
  });
  return { characters, filled, rate: chance.pick([0, 0.05, 0.15, 0.3], 'rate'), ranges, blows };
}
