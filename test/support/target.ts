import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import type { HostPort } from '../../src/config/app-config.js';
import type { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import type { AgentCluster } from './agent-cluster.js';
import type { AgentProcess } from './agent-process.js';
import type { Cleanup } from './cleanup.js';
import { addImage, startDemoRegistry } from './demo-images.js';
import { prepareDirectoryCluster } from './directory-cluster.js';
import { keyFor } from './session-client.js';

const READY_MS = 120_000;

/** Agents to be attacked: they run as they do in a cluster, with a key, a token, and one image that is ready. */
export interface Target {
  readonly registry: DemoRegistry;
  readonly cluster: AgentCluster;
  readonly agents: readonly [AgentProcess, ...AgentProcess[]];
  /** On the list of all, and ready on all. */
  readonly image: string;
  /** Proves that one belongs to this deployment. */
  readonly sessionKey: Buffer;
  /** `sha256:…` of every blob that the first agent has in its store. */
  readonly digests: readonly [string, ...string[]];
}

export async function startTarget(
  cleanup: Cleanup,
  nodes = 1,
  settings: Readonly<Record<string, string>> = {},
): Promise<Target> {
  const registry = await startDemoRegistry(cleanup);
  await addImage(registry, 'team/app', 300_000);
  const image = `${registry.host}/team/app:1.0`;
  const cluster = await prepareDirectoryCluster(cleanup, nodes, settings);
  await cluster.list(image);
  cluster.start();
  await Promise.all(cluster.agents.map((agent) => agent.until(image, 'ready', READY_MS)));
  const agents = cluster.agents as [AgentProcess, ...AgentProcess[]];
  const blobs = await readdir(join(agents[0].storeDirectory, 'blobs', 'sha256'));
  const digests = blobs.map((hex) => `sha256:${hex}`) as [string, ...string[]];
  const sessionKey = keyFor('peer session', await readFile(join(cluster.directory, 'peer-key')));
  return { registry, cluster, agents, image, sessionKey, digests };
}

export function addressOf({ port }: AgentProcess): HostPort {
  return { host: '127.0.0.1', port };
}

/** Open files and sockets of a process. */
export async function openHandles(agent: AgentProcess): Promise<number> {
  return (await targetsOfHandles(agent)).length;
}

/** Resident memory of a process, bytes. */
export function residentBytes({ pid }: AgentProcess): Promise<number> {
  return statusBytes(pid, 'VmRSS');
}

/** The most that it ever had. */
export function peakResidentBytes({ pid }: AgentProcess): Promise<number> {
  return statusBytes(pid, 'VmHWM');
}

async function statusBytes(pid: number, field: 'VmRSS' | 'VmHWM'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) * 1024;
}

/** Waits until no more files and sockets are open than `before`: what an attack left behind would stay. */
export async function handlesBackTo(agent: AgentProcess, before: number): Promise<void> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    const open = await targetsOfHandles(agent);
    if (open.length <= before) return;
    if (performance.now() > deadline)
      throw new Error(`${agent.node} has ${open.length} handles, not ${before}: ${open.sort().join(' ')}`);
    await delay(250);
  }
}

async function targetsOfHandles({ pid }: AgentProcess): Promise<string[]> {
  const names = await readdir(`/proc/${pid}/fd`);
  // One that was closed meanwhile has no target any more.
  const targets = names.map((name) => readlink(`/proc/${pid}/fd/${name}`).catch(() => undefined));
  return (await Promise.all(targets)).filter((target) => target !== undefined);
}

/** Lines of its log about what nobody foresaw. */
export async function unforeseen(agent: AgentProcess): Promise<string[]> {
  return (await agent.log()).split('\n').filter((line) => /"level":(?:50|60)/.test(line));
}
