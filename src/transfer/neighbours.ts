import type { Peer } from '../peers/peer-identity.js';
import { MAX_NEIGHBOURS } from './swarm/neighbour-table.js';

/** All peers of a small cluster; of a large one the image's holder and others at random. */
export function neighboursOf(
  peers: readonly Peer[],
  holderInstance: string | undefined,
  random: () => number = Math.random,
): readonly Peer[] {
  if (peers.length <= MAX_NEIGHBOURS) return peers;
  const chosen = peers.filter(({ instance }) => instance === holderInstance);
  const others = peers.filter(({ instance }) => instance !== holderInstance);
  while (chosen.length < MAX_NEIGHBOURS)
    chosen.push(...others.splice(Math.floor(random() * others.length), 1));
  return chosen;
}
