/** What of `/etc/resolv.conf` (resolv.conf(5)) Node.js leaves to the caller. */
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

function withoutDot(name: string): string {
  return name.replace(/\.$/, '');
}
