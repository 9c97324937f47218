import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

import { missingEngine } from './engines.js';
import { newerPrograms, type NewerPrograms } from './newer-programs.js';

/**
 * A containerd newer than this machine's: 1.7 of Debian 13, 2.x of Debian's development branch, which runs on older
 * releases for as long as their C library serves.
 * @returns where its programs are, or why it cannot be had
 */
export function newerContainerd(suite: 'trixie' | 'sid'): NewerPrograms {
  const missing = missingEngine('containerd');
  if (missing !== undefined) return { missing };
  const found = newerPrograms({ suite, packages: ['containerd'], programs: ['containerd', 'ctr'] });
  if ('missing' in found) return found;
  const { status, stderr } = spawnSync(join(found.binDirectory, 'containerd'), ['--version'], {
    encoding: 'utf8',
  });
  return status === 0 ? found : { missing: `the containerd of ${suite} does not run here: ${stderr}` };
}
