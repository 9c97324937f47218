/** What `/etc/resolv.conf` says that a look-up by c-ares does not apply by itself. */
export interface ResolvConf {
  readonly search: readonly string[];
}

const MAX_SEARCH = 32;

/** resolv.conf(5): the last `search` (or `domain`) counts. */
export function parseResolvConf(text: string): ResolvConf {
  let search: string[] = [];
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line
      .replace(/[#;].*/, '')
      .trim()
      .split(/\s+/);
    if (keyword === 'search' || keyword === 'domain') search = values.slice(0, MAX_SEARCH);
  }
  return { search: search.map((domain) => domain.replace(/\.$/, '')).filter((domain) => domain !== '') };
}

/**
 * The names to ask for, in order. A name with a dot at its end is complete. A Service's name below `svc.cluster.local`
 * is also tried below the domain that this cluster really has: kubelet writes `svc.<cluster domain>` into the search
 * list. Others are asked for as they are, then below each search domain.
 */
export function candidateNames(name: string, { search }: ResolvConf): string[] {
  if (name.endsWith('.')) return [name.slice(0, -1)];
  const below = search.map((domain) => `${name}.${domain}`);
  const clusterDomain = search.find((domain) => domain.startsWith('svc.'));
  const service = /^(.+)\.svc\.cluster\.local$/.exec(name)?.[1];
  if (service !== undefined) {
    const here = clusterDomain === undefined ? name : `${service}.${clusterDomain}`;
    return here === name ? [name] : [here, name];
  }
  return name.includes('.') ? [name, ...below] : [...below, name];
}
