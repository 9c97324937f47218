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

/** Has Docker 26 and containerd 1.7: the oldest stable release whose Docker has the containerd image store. */
const SUITE = 'trixie';
const PACKAGES = ['docker.io', 'containerd', 'runc'];
const FETCH_TIMEOUT_MS = 120_000;
const PROGRAMS = ['dockerd', 'docker-proxy', 'docker-init', 'containerd', 'containerd-shim-runc-v2', 'runc'];

/**
 * A Docker Engine newer than this machine's, unpacked from Debian's packages into a cache directory, without installing
 * anything. Done once per machine; about 10 s.
 * @returns where its programs are, or why it cannot be had
 */
export function newerDocker(): { readonly binDirectory: string } | { readonly missing: string } {
  const missing = missingEngine('dockerd') ?? missingEngine('apt-get');
  if (missing !== undefined) return { missing };
  const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'image-preheat', SUITE);
  if (!existsSync(cache)) {
    try {
      fetchInto(cache);
    } catch (error) {
      return { missing: `a newer Docker could not be fetched by apt-get: ${String(error)}` };
    }
  }
  return { binDirectory: join(cache, 'bin') };
}

function fetchInto(cache: string): void {
  const directory = mkdtempSync(join(tmpdir(), 'deb-'));
  try {
    const options = aptOptions(directory);
    run(directory, 'apt-get', [...options, 'update', '-qq']);
    run(directory, 'apt-get', [...options, 'download', '-qq', ...PACKAGES]);
    const root = join(directory, 'root');
    for (const file of readdirSync(directory).filter((name) => name.endsWith('.deb'))) {
      run(directory, 'dpkg', ['-x', file, root]);
    }
    linkPrograms(directory);
    mkdirSync(join(cache, '..'), { recursive: true });
    renameAcross(directory, cache);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Lists and cache of their own, so that the machine's apt stays as it is. */
function aptOptions(directory: string): string[] {
  const source = join(directory, 'debian.sources');
  for (const folder of ['lists/partial', 'cache/archives/partial'])
    mkdirSync(join(directory, folder), { recursive: true });
  writeFileSync(
    source,
    `Types: deb\nURIs: ${debianUri(directory)}\nSuites: ${SUITE}\nComponents: main\n` +
      'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n',
  );
  return Object.entries({
    'Dir::Etc::sourcelist': source,
    'Dir::Etc::sourceparts': '-',
    'Dir::State::lists': join(directory, 'lists'),
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
function linkPrograms(directory: string): void {
  mkdirSync(join(directory, 'bin'));
  for (const program of PROGRAMS) {
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
