import { readdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

import { TEMPORARY_SUFFIX } from '../../common/atomic-file.js';
import { isAlive, readOwner } from './mutex-owner.js';

/** Nobody takes this long to write a line. */
const ABANDONED_AFTER_MS = 60_000;

/**
 * Removes what writers of `path` that were killed have left beside it. The caller must hold its mutex: then every
 * temporary file of it is a dead one's, and of the mutex's own files those whose owners are dead. (Taking away the right
 * to break a mutex does no harm: the mutex that it was about is gone, since the caller holds another.)
 */
export async function removeLeftovers(path: string): Promise<void> {
  const directory = dirname(path);
  const prefix = `${basename(path)}.`;
  for (const name of await readdir(directory)) {
    const file = join(directory, name);
    const ofMutex = name.startsWith(`${prefix}mutex.`);
    const isTemporary = !ofMutex && name.startsWith(prefix) && name.endsWith(TEMPORARY_SUFFIX);
    if (isTemporary || (ofMutex && (await isAbandoned(file)))) await rm(file, { force: true });
  }
}

async function isAbandoned(mutexFile: string): Promise<boolean> {
  const owner = await readOwner(mutexFile).catch(() => undefined);
  if (owner?.process) return !(await isAlive(owner));
  // Killed between making the file and writing its line, or about to write it.
  const { mtimeMs } = await stat(mutexFile).catch(() => ({ mtimeMs: Infinity }));
  return Date.now() - mtimeMs > ABANDONED_AFTER_MS;
}
