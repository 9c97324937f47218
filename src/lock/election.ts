import { hash } from 'node:crypto';

/** Ranks try one after another, this far apart. */
export const RANK_STEP_MS = 300;
/** Nobody waits longer for its turn, jitter and all. */
export const MAX_RANK_WAIT_MS = 10_000;

/**
 * The place of `self` among `nodes` (it need not be one of them), 0 first, by a hash that differs per image, so that
 * different images get different holders. Every failed attempt turns the order by one: the next in rank tries.
 */
export function rankOf(image: string, self: string, nodes: readonly string[], failedAttempts = 0): number {
  const others = new Set(nodes);
  others.delete(self);
  const own = weight(image, self);
  let before = 0;
  for (const node of others) if (weight(image, node) < own) before += 1;
  const count = others.size + 1;
  return (((before - failedAttempts) % count) + count) % count;
}

function weight(image: string, node: string): string {
  return hash('sha256', `${image}|${node}`);
}
