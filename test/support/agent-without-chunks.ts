import { execFile } from 'node:child_process';
import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

import type { Cleanup } from './cleanup.js';

const ARCHIVE = resolve('test/fixtures/agent-without-chunks.tgz');

/**
 * The agent as it was when blobs still went whole from node to node, on today's packages. `test/fixtures/pack-agent` has
 * made the archive, which names the commit.
 * @returns its `main.js`
 */
export async function unpackAgentWithoutChunks(cleanup: Cleanup): Promise<string> {
  const directory = await cleanup.track(mkdtemp(join(tmpdir(), 'old-agent-')), (made) =>
    rm(made, { recursive: true, force: true }),
  );
  await promisify(execFile)('tar', ['-xzf', ARCHIVE, '-C', directory]);
  await symlink(resolve('node_modules'), join(directory, 'node_modules'));
  return join(directory, 'dist', 'main.js');
}
