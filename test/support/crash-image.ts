import { copyFileSync, mkdirSync, mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { errnoOf } from '../../src/common/errno.js';

/**
 * A copy of a store as a crash at this moment would leave it, in a directory of its own. Made without a pause in between, so
 * that nothing in it is older than the rest; without the lock, whose process is gone after a crash.
 */
export function crashImageOf(directory: string): string {
  const copy = mkdtempSync(join(tmpdir(), 'store-'));
  for (const folder of ['.', 'partial', 'chunks', 'blobs/sha256']) {
    mkdirSync(join(copy, folder), { recursive: true });
    for (const entry of readdirSync(join(directory, folder), { withFileTypes: true })) {
      if (!entry.isFile() || entry.name === '.lock') continue;
      try {
        copyFileSync(join(directory, folder, entry.name), join(copy, folder, entry.name));
      } catch (error) {
        // A thread of the file system's may rename it at this very moment.
        if (errnoOf(error) !== 'ENOENT') throw error;
      }
    }
  }
  return copy;
}
