import { lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';

import { isMissing } from '../../store/disk-errors.js';
import { fileSignature } from './archive-file.js';
import { layoutSignature } from './directory-archive.js';

const TAR_NAME = /\.tar(?:\.gz|\.zst)?$/;
/** More archives than anyone mounts; the rest is passed over. */
export const MAX_ARCHIVES = 1024;

/** A direct child of `MOUNT_DIR` that looks like an archive. */
export interface ArchiveCandidate {
  readonly name: string;
  readonly kind: 'tar' | 'layout';
  /** Changes whenever its content may have. */
  readonly signature: string;
}

/**
 * The archives in `directory`, by name: `*.tar`, `*.tar.gz`, `*.tar.zst`, and OCI layout folders. A symbolic link is none,
 * which also leaves out a ConfigMap mount's own files (`images.list → ..data/images.list`); neither is `..*`.
 * A directory that is not there has none.
 */
export async function listArchives(directory: string): Promise<readonly ArchiveCandidate[]> {
  const candidates: ArchiveCandidate[] = [];
  try {
    for await (const { name } of await opendir(directory)) {
      const candidate = name.startsWith('..') ? undefined : await candidateAt(directory, name);
      if (candidate) candidates.push(candidate);
    }
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  candidates.sort((left, right) => (left.name < right.name ? -1 : 1));
  return candidates;
}

async function candidateAt(directory: string, name: string): Promise<ArchiveCandidate | undefined> {
  const path = join(directory, name);
  const stat = await lstat(path, { bigint: true }).catch(() => undefined);
  if (stat?.isFile() && TAR_NAME.test(name)) return { name, kind: 'tar', signature: fileSignature(stat) };
  if (!stat?.isDirectory()) return undefined;
  const signature = await layoutSignature(path);
  return signature === undefined ? undefined : { name, kind: 'layout', signature };
}
