import { missingEngine } from './engines.js';
import { newerPrograms, type NewerPrograms } from './newer-programs.js';

/**
 * A Docker Engine newer than this machine's: Docker 26 and containerd 1.7, of the oldest stable Debian whose Docker has
 * the containerd image store.
 * @returns where its programs are, or why it cannot be had
 */
export function newerDocker(): NewerPrograms {
  const missing = missingEngine('dockerd');
  if (missing !== undefined) return { missing };
  return newerPrograms({
    suite: 'trixie',
    packages: ['docker.io', 'containerd', 'runc'],
    programs: ['dockerd', 'docker-proxy', 'docker-init', 'containerd', 'containerd-shim-runc-v2', 'runc'],
  });
}
