import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { AgentProcess } from './agent-process.js';
import type { ProcessPlace } from './process-place.js';

/** Agents of one deployment: they share the key, the file lock and the static list of all their addresses. */
export class AgentCluster {
  private constructor(
    readonly directory: string,
    readonly agents: readonly AgentProcess[],
    readonly apiToken: string,
  ) {}

  /**
   * Prepares one agent per environment, without starting any.
   * @param shared settings of all; each agent's own win
   * @param places where each runs; loopback where there is none
   */
  static async prepare(
    own: readonly Readonly<Record<string, string>>[],
    shared: Readonly<Record<string, string>> = {},
    places: readonly ProcessPlace[] = [],
  ): Promise<AgentCluster> {
    const directory = await mkdtemp(join(tmpdir(), 'agents-'));
    const apiToken = randomBytes(16).toString('hex');
    await writeFile(join(directory, 'peer-key'), randomBytes(32).toString('hex'));
    await writeFile(join(directory, 'api-token'), apiToken);
    const common = {
      LOCK_BACKEND: 'file',
      LOCK_FILE: join(directory, 'lock.json'),
      PEER_DISCOVERY: 'static',
      PEER_KEY_FILE: join(directory, 'peer-key'),
      API_TOKEN_FILE: join(directory, 'api-token'),
    };
    const agents = await Promise.all(
      own.map((environment, index) =>
        AgentProcess.prepare({
          node: `node-${index + 1}`,
          environment: { ...common, ...shared, ...environment },
          place: places[index],
        }),
      ),
    );
    const addresses = agents.map(({ address }) => address).join(',');
    for (const agent of agents) agent.set('PEERS', addresses);
    return new AgentCluster(directory, agents, apiToken);
  }

  get authorization(): { Authorization: string } {
    return { Authorization: `Bearer ${this.apiToken}` };
  }

  start(): void {
    for (const agent of this.agents) agent.start();
  }

  async list(...lines: readonly string[]): Promise<void> {
    await Promise.all(this.agents.map((agent) => agent.list(...lines)));
  }

  /** Image to the node that holds its lock right now, by the lock file. */
  async lockHolders(): Promise<ReadonlyMap<string, string>> {
    const text = await readFile(join(this.directory, 'lock.json'), 'utf8').catch(() => '{"records":{}}');
    const { records } = JSON.parse(text) as { records: Record<string, string> };
    return new Map(
      Object.values(records).flatMap((record): [string, string][] => {
        const { image, holder } = JSON.parse(record) as { image: string; holder?: { node: string } };
        return holder ? [[image, holder.node]] : [];
      }),
    );
  }

  /** Waits until each agent knows all the others. */
  async acquainted(limitMs: number): Promise<void> {
    const others = this.agents.length - 1;
    for (const agent of this.agents)
      await agent.wait('acquainted with all others', limitMs, async () =>
        (await agent.metric('image_preheat_peers')) === others ? true : undefined,
      );
  }

  async dispose(): Promise<void> {
    await Promise.all(this.agents.map((agent) => agent.dispose()));
    await rm(this.directory, { recursive: true, force: true });
  }
}
