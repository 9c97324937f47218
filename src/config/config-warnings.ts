import type { AppConfig } from './app-config.js';
import { spellingsOf, VARIABLE_NAMES } from './environment-variables.js';
import { isLoopback } from './setting-type.js';

/** Shorter names are too near to everything. */
const SHORTEST_NAME = 6;

/** What the operator should know about a configuration that can be used; each is for one line of the log. */
export function configWarnings(env: NodeJS.ProcessEnv, config: AppConfig): string[] {
  const warnings: string[] = [];
  for (const name of Object.keys(env)) {
    const meant = isOurs(name) ? undefined : VARIABLE_NAMES.find((ours) => isTypoOf(name, ours));
    if (meant !== undefined)
      warnings.push(`${name.slice(0, 100)} is not a setting and is ignored; did you mean ${meant}?`);
  }
  if (config.access.peerAuth === 'none') {
    warnings.push(
      isLoopback(config.host)
        ? 'PEER_AUTH=none: every local process may download the images of this node'
        : `PEER_AUTH=none: whoever reaches ${config.host} may download every image of this node`,
    );
  }
  if (config.lock.backend === 'memory' && config.peers.static.length > 0) {
    warnings.push('LOCK_BACKEND=memory is this process alone: with PEERS, every agent may read the registry');
  }
  return warnings;
}

function isOurs(name: string): boolean {
  return VARIABLE_NAMES.some((ours) => spellingsOf(ours).includes(name));
}

function isTypoOf(name: string, ours: string): boolean {
  if (ours.length < SHORTEST_NAME || Math.abs(name.length - ours.length) > 2) return false;
  const upper = name.toUpperCase();
  return editDistance(upper, ours) <= (ours.length < 10 ? 1 : 2);
}

/** Levenshtein: insertions, deletions and replacements between two short words. */
function editDistance(left: string, right: string): number {
  let previous = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let row = 1; row <= left.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= right.length; column += 1) {
      const replaced = (previous[column - 1] ?? 0) + (left[row - 1] === right[column - 1] ? 0 : 1);
      current.push(Math.min(replaced, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[right.length] ?? 0;
}
