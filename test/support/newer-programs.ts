import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';

import { missingEngine } from './engines.js';

const FETCH_TIMEOUT_MS = 120_000;

export interface ProgramsWanted {
  /** The Debian release that they come from: newer than the oldest one that the tests run on. */
  readonly suite: 'trixie' | 'sid';
  /** Those that hold the programs, the one that the cache is named after first. Dependencies are not followed. */
  readonly packages: readonly [string, ...string[]];
  /** What to put on PATH, of `/usr/bin` and `/usr/sbin`. */
  readonly programs: readonly string[];
}

export type NewerPrograms = { readonly binDirectory: string } | { readonly missing: string };

/**
 * Programs newer than this machine's, unpacked from Debian's packages into a cache directory, without installing
 * anything. Done once per machine.
 * @returns where the programs are, or why they cannot be had
 */
export function newerPrograms(wanted: ProgramsWanted): NewerPrograms {
  const missing = missingEngine('apt-get');
  if (missing !== undefined) return { missing };
  const caches = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  const cache = join(caches, 'image-preheat', `${wanted.suite}-${wanted.packages[0]}`);
  if (!existsSync(cache)) {
    try {
      fetchInto(cache, wanted);
    } catch (error) {
      return {
        missing: `${wanted.packages.join(', ')} of ${wanted.suite} cannot be fetched: ${String(error)}`,
      };
    }
  }
  return { binDirectory: join(cache, 'bin') };
}

function fetchInto(cache: string, { suite, packages, programs }: ProgramsWanted): void {
  const directory = mkdtempSync(join(tmpdir(), 'deb-'));
  try {
    const options = aptOptions(directory, suite);
    run(directory, 'apt-get', [...options, 'update', '-qq']);
    run(directory, 'apt-get', [...options, 'download', '-qq', ...packages]);
    const root = join(directory, 'root');
    for (const file of readdirSync(directory).filter((name) => name.endsWith('.deb'))) {
      run(directory, 'dpkg', ['-x', file, root]);
    }
    linkPrograms(directory, programs);
    mkdirSync(join(cache, '..'), { recursive: true });
    renameAcross(directory, cache);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/**
 * Lists and cache of their own, so that the machine's apt stays as it is, and none of its packages: what it has
 * installed from elsewhere would count as newer than what the suite has.
 */
function aptOptions(directory: string, suite: string): string[] {
  const source = join(directory, 'debian.sources');
  for (const folder of ['lists/partial', 'cache/archives/partial'])
    mkdirSync(join(directory, folder), { recursive: true });
  const status = join(directory, 'status');
  writeFileSync(status, '');
  writeFileSync(
    source,
    `Types: deb\nURIs: ${debianUri(directory)}\nSuites: ${suite}\nComponents: main\n` +
      'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n',
  );
  return Object.entries({
    'Dir::Etc::sourcelist': source,
    'Dir::Etc::sourceparts': '-',
    'Dir::State::lists': join(directory, 'lists'),
    'Dir::State::status': status,
    'Dir::Cache': join(directory, 'cache'),
    'APT::Sandbox::User': 'root',
  }).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

/** Where this machine gets its own packages from. */
function debianUri(directory: string): string {
  const format = '$(LABEL) $(REPO_URI)';
  const targets = run(directory, 'apt-get', ['indextargets', '--format', format, 'Created-By: Packages']);
  const uri = /^Debian (\S+)$/m.exec(targets)?.[1];
  if (uri === undefined) throw new Error('this machine has no Debian package lists (run apt-get update)');
  return uri;
}

/** The packages spread them over several directories, and dockerd looks for its companions on PATH. */
function linkPrograms(directory: string, programs: readonly string[]): void {
  mkdirSync(join(directory, 'bin'));
  for (const program of programs) {
    const folder = ['usr/sbin', 'usr/bin'].find((name) => existsSync(join(directory, 'root', name, program)));
    if (folder !== undefined)
      symlinkSync(join('..', 'root', folder, program), join(directory, 'bin', program));
  }
}

/** Two runs may fetch at once: the first one there wins. */
function renameAcross(directory: string, cache: string): void {
  const near = mkdtempSync(`${cache}-`);
  try {
    for (const part of ['root', 'bin']) run(directory, 'cp', ['-a', part, near]);
    renameSync(near, cache);
  } catch (error) {
    rmSync(near, { recursive: true, force: true });
    if (!existsSync(cache)) throw error;
  }
}

function run(cwd: string, command: string, args: readonly string[]): string {
  return execFileSync(command, args, { cwd, encoding: 'utf8', timeout: FETCH_TIMEOUT_MS, stdio: 'pipe' });
}
