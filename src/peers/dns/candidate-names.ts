import type { ResolvConf } from '../../common/resolv-conf.js';

/**
 * The names to ask for, in order. A dot at the end makes a name complete. A name with dots is asked for as it is first,
 * whatever `ndots` says: kubelet's 5 would cost three look-ups in vain for every Service name.
 */
export function candidateNames(name: string, { search }: ResolvConf): string[] {
  if (name.endsWith('.')) return [name.slice(0, -1)];
  const below = search.map((domain) => `${name}.${domain}`);
  return name.includes('.') ? [name, ...below] : [...below, name];
}
