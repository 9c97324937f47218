import { z } from 'zod';

import type { RegistryCredential } from './registry-credential.js';

/** Where a credential for a repository may come from. */
export type CredentialSource =
  | { readonly kind: 'helper'; readonly name: string }
  | { readonly kind: 'file'; readonly credential: RegistryCredential };

interface Entry {
  /** Host with optional port, lower case; `*` stands for a part of one label. */
  readonly host: string;
  /** Repository, or the beginning of its path; empty for the whole registry. */
  readonly path: string;
  readonly source: CredentialSource;
}

/** Docker's `config.json`, as far as it speaks of credentials. */
export interface DockerConfig {
  readonly entries: readonly Entry[];
  /** `credsStore`: asked about every registry. */
  readonly store?: string;
}

export const EMPTY_DOCKER_CONFIG: DockerConfig = { entries: [] };

const HELPER_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;
const helperName = z.string().regex(HELPER_NAME);
const auth = z.object({
  auth: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  identitytoken: z.string().optional(),
});
// Entries are checked one by one: a bad one must not take the others with it.
const config = z.object({
  auths: z.record(z.string(), z.unknown()).optional(),
  credHelpers: z.record(z.string(), z.unknown()).optional(),
  credsStore: z.unknown().optional(),
});

/** @throws Error that does not repeat the text, which holds secrets */
export function parseDockerConfig(text: string): DockerConfig {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    throw new Error('it is not JSON');
  }
  const parsed = config.safeParse(document);
  if (!parsed.success) throw new Error('it is not a Docker config.json');
  const { auths = {}, credHelpers = {}, credsStore } = parsed.data;
  const entries: Entry[] = [];
  for (const [key, value] of Object.entries(credHelpers)) {
    const name = helperName.safeParse(value);
    if (name.success) entries.push({ ...parseKey(key), source: { kind: 'helper', name: name.data } });
  }
  for (const [key, value] of Object.entries(auths)) {
    const credential = parseAuth(value);
    if (credential) entries.push({ ...parseKey(key), source: { kind: 'file', credential } });
  }
  const store = helperName.safeParse(credsStore);
  return store.success ? { entries, store: store.data } : { entries };
}

/**
 * Where to look for the credential of a repository, best first: the longest path wins, then a host named in full over
 * one with `*`, then, as Docker does, the registry's helper over the general store over what the file itself says.
 */
export function credentialSources(
  { entries, store }: DockerConfig,
  registry: string,
  repository: string,
): CredentialSource[] {
  const host = registry.toLowerCase();
  const found = entries
    .filter((entry) => hostMatches(entry.host, host) && pathMatches(entry.path, repository))
    .map(({ host: pattern, path, source }) => ({
      rank: [path.length, pattern === host ? 1 : 0, source.kind === 'helper' ? 2 : 0],
      source,
    }));
  if (store !== undefined) found.push({ rank: [0, 1, 1], source: { kind: 'helper', name: store } });
  return found.sort((left, right) => compareRanks(right.rank, left.rank)).map(({ source }) => source);
}

function compareRanks(left: readonly number[], right: readonly number[]): number {
  const difference = left.findIndex((value, index) => value !== right[index]);
  return (left[difference] ?? 0) - (right[difference] ?? 0);
}

/** Keys are hosts, or URLs of old (`https://index.docker.io/v1/`), or, since Kubernetes, hosts with a repository path. */
function parseKey(key: string): { host: string; path: string } {
  const [host = '', ...segments] = key
    .trim()
    .replace(/^https?:\/\//i, '')
    .replace(/\/+$/, '')
    .split('/');
  if (/^v[12]$/.test(segments[0] ?? '')) segments.shift();
  return { host: canonicalHost(host.toLowerCase()), path: segments.join('/') };
}

function canonicalHost(host: string): string {
  return host === 'index.docker.io' || host === 'registry-1.docker.io' ? 'docker.io' : host;
}

function hostMatches(pattern: string, host: string): boolean {
  if (!pattern.includes('*')) return pattern === host;
  const [patternLabels, labels] = [pattern.split('.'), host.split('.')];
  return (
    patternLabels.length === labels.length &&
    patternLabels.every((label, index) => labelMatches(label, labels[index] ?? ''))
  );
}

function labelMatches(pattern: string, label: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  if (rest.length === 0) return pattern === label;
  if (!label.startsWith(first)) return false;
  const last = rest.pop() ?? '';
  let position = first.length;
  for (const part of rest) {
    const found = label.indexOf(part, position);
    if (found === -1) return false;
    position = found + part.length;
  }
  return label.length - last.length >= position && label.endsWith(last);
}

function pathMatches(path: string, repository: string): boolean {
  return path === '' || repository === path || repository.startsWith(`${path}/`);
}

function parseAuth(value: unknown): RegistryCredential | undefined {
  const parsed = auth.safeParse(value);
  if (!parsed.success) return undefined;
  const { auth: encoded, identitytoken, username, password } = parsed.data;
  if (identitytoken) return { kind: 'identity-token', token: identitytoken };
  if (encoded) {
    const text = Buffer.from(encoded, 'base64').toString('utf8').replace(/\0+$/, '');
    const colon = text.indexOf(':');
    if (colon > 0) {
      return { kind: 'password', username: text.slice(0, colon), password: text.slice(colon + 1) };
    }
  }
  return username ? { kind: 'password', username, password: password ?? '' } : undefined;
}
