import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** What a suite needs beside Node.js: programs on `PATH`; some also root on Linux. */
export type Engine =
  | 'apt-get'
  | 'dockerd'
  | 'docker-registry'
  | 'htpasswd'
  | 'openssl'
  | 'containerd'
  | 'skopeo'
  | 'umoci'
  | 'promtool'
  | 'zstd'
  | 'ip'
  | 'tc'
  | 'iptables'
  | 'nginx'
  | 'docker'
  | 'curl';

/** Why `engine` cannot be used here; undefined when it can. */
export function missingEngine(engine: Engine): string | undefined {
  if (['dockerd', 'containerd', 'ip', 'tc', 'iptables'].includes(engine) && process.getuid?.() !== 0)
    return `${engine} needs root`;
  return findProgram(engine) === undefined ? `${engine} is not on PATH` : undefined;
}

/**
 * `describe`, where all `engines` are there. Where not, the suite is skipped with a loud line; with CI=true it fails
 * instead, because a suite that silently never ran proves nothing.
 */
export function describeWith(engines: Engine | readonly Engine[], name: string, suite: () => void): void {
  const missing = [engines].flat().flatMap((engine) => missingEngine(engine) ?? []);
  describeUnless(missing.length === 0 ? undefined : missing.join(', '), name, suite);
}

/** `describe`, unless there is a reason against it, which is handled as `describeWith` does. */
export function describeUnless(missing: string | undefined, name: string, suite: () => void): void {
  if (missing === undefined) {
    describe(name, suite);
  } else if (process.env['CI'] === 'true') {
    describe(name, () => {
      it('has the engines it needs', () => {
        throw new Error(`CI must have them: ${missing}`);
      });
    });
  } else {
    skipLoudly(missing, name, suite);
  }
}

/**
 * `describe`, where a version of an engine that no release of Debian has can be fetched and runs; else skipped with a loud
 * line, also in CI.
 */
export function describeWherePossible(missing: string | undefined, name: string, suite: () => void): void {
  if (missing === undefined) describe(name, suite);
  else skipLoudly(missing, name, suite);
}

function skipLoudly(missing: string, name: string, suite: () => void): void {
  process.stderr.write(`\n*** SKIPPED: "${name}": ${missing} ***\n\n`);
  describe.skip(name, suite);
}

function findProgram(name: string): string | undefined {
  const directories = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return directories.map((directory) => join(directory, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
