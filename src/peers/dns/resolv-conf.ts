/** What of `/etc/resolv.conf` (resolv.conf(5)) c-ares leaves to the caller. */
export interface ResolvConf {
  /** Domains below which an incomplete name is looked for, in order. */
  readonly search: readonly string[];
}

const MAX_SEARCH = 32;

/** The last `search` or `domain` line counts. */
export function parseResolvConf(text: string): ResolvConf {
  let search: string[] = [];
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line
      .replace(/[#;].*/, '')
      .trim()
      .split(/\s+/);
    if (keyword === 'search' || keyword === 'domain') search = values.slice(0, MAX_SEARCH);
  }
  return { search: search.map(withoutDot).filter((domain) => domain !== '') };
}

/**
 * The names to ask for, in order. A dot at the end makes a name complete. A name with dots is asked for as it is first,
 * whatever `ndots` says: kubelet's 5 would cost three look-ups in vain for every Service name.
 */
export function candidateNames(name: string, { search }: ResolvConf): string[] {
  if (name.endsWith('.')) return [withoutDot(name)];
  const below = search.map((domain) => `${name}.${domain}`);
  return name.includes('.') ? [name, ...below] : [...below, name];
}

function withoutDot(name: string): string {
  return name.replace(/\.$/, '');
}
