import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

import { AgentCluster } from './agent-cluster.js';
import type { AgentProcess } from './agent-process.js';
import type { Cleanup } from './cleanup.js';
import { tally } from './tally.js';

/** The long profile of the cluster suites (`E2E_PROFILE=full`): the issue's own numbers, minutes instead of seconds. */
export const IS_FULL_PROFILE = process.env['E2E_PROFILE'] === 'full';

/** Agents without any engine: their runtime is an OCI layout each. None is started yet. */
export async function prepareDirectoryCluster(
  cleanup: Cleanup,
  nodes: number,
  shared: Readonly<Record<string, string>> = {},
): Promise<AgentCluster> {
  const own = Array.from({ length: nodes }, () => ({ RUNTIME: 'directory' }));
  // A test polls the state of many images at once, more often than people do.
  const defaults = { LOG_LEVEL: 'info', API_RATE_LIMIT: '0' };
  return cleanup.track(AgentCluster.prepare(own, { ...defaults, ...shared }), (cluster) => cluster.dispose());
}

/** Waits until all of `agents` have `image`. @returns its id, which must be one and the same on all */
export async function idWhenReady(
  agents: readonly AgentProcess[],
  image: string,
  limitMs: number,
): Promise<string> {
  await Promise.all(agents.map((agent) => agent.until(image, 'ready', limitMs)));
  const answers = await Promise.all(
    agents.map(async (agent) => {
      const answer = await agent.get(`/images/check?image=${encodeURIComponent(image)}`);
      return (await answer.json()) as { exists: boolean; id: string };
    }),
  );
  expect(answers.every(({ exists }) => exists)).toBe(true);
  const [id, ...others] = new Set(answers.map((answer) => answer.id));
  expect(others).toEqual([]);
  return id ?? '';
}

/** Counts bytes that are not what their names say, and fails where there are any. */
export function expectNoneWrong(wrong: readonly string[]): void {
  tally('wrong bytes committed', wrong.length);
  expect(wrong).toEqual([]);
}

/** Hashes every blob of the agents' runtimes. */
export async function expectRightBlobs(agents: readonly AgentProcess[]): Promise<void> {
  for (const agent of agents) expectNoneWrong(await wrongBlobs(agent));
}

/** Blobs of an agent's runtime whose bytes are not what their names say. */
export async function wrongBlobs({ storeDirectory }: AgentProcess): Promise<string[]> {
  return wrongBlobsIn(join(storeDirectory, 'runtime', 'blobs', 'sha256'));
}

/** Files of `directory` whose bytes are not what their names, SHA-256 in hex, say. */
export async function wrongBlobsIn(directory: string): Promise<string[]> {
  const wrong: string[] = [];
  for (const name of await readdir(directory)) {
    const hash = createHash('sha256');
    await pipeline(createReadStream(join(directory, name)), hash);
    if (hash.digest('hex') !== name) wrong.push(name);
  }
  return wrong;
}
