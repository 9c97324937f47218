import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import type { AgentCluster } from './agent-cluster.js';
import type { AgentImage, AgentProcess } from './agent-process.js';
import { Cleanup } from './cleanup.js';
import { addImage, startDemoRegistry } from './demo-images.js';
import { expectRightBlobs, prepareDirectoryCluster } from './directory-cluster.js';
import { tally, tallyLine } from './tally.js';

const KIB = 1024;
export const READY_MS = 150_000;
const NODES = 3;

/** A small cluster in which one fault after another is injected while it preheats; each row has an image of its own. */
export class FaultScene {
  readonly cleanup = new Cleanup();
  private readonly listed: string[] = [];
  private made = 0;

  private constructor(
    readonly registry: DemoRegistry,
    readonly cluster: AgentCluster,
  ) {}

  /** @param settings of all agents */
  static async start(settings: Readonly<Record<string, string>> = {}): Promise<FaultScene> {
    const cleanup = new Cleanup();
    const registry = await startDemoRegistry(cleanup);
    const cluster = await prepareDirectoryCluster(cleanup, NODES, {
      PREHEAT_CONCURRENCY: '8',
      K8S_LOCK_TIMEOUT: '8s',
      PULLING_TIMEOUT: '10s',
      ...settings,
    });
    const scene = new FaultScene(registry, cluster);
    await scene.cleanup.track(Promise.resolve(cleanup), (started) => started.run());
    cluster.start();
    return scene;
  }

  get agents(): readonly AgentProcess[] {
    return this.cluster.agents;
  }

  /** An image that nobody has yet, and that no other row shares a layer with. */
  async newImage(registry = this.registry): Promise<{ name: string; reference: string }> {
    this.made += 1;
    const name = `fault-${this.made}`;
    await addImage(registry, `team/${name}`, (300 + 10 * this.made) * KIB);
    return { name, reference: `${registry.host}/team/${name}:1.0` };
  }

  /** Wants `reference` too, on all nodes. */
  async want(reference: string): Promise<void> {
    this.listed.push(reference);
    await this.cluster.list(...this.listed);
  }

  /** Waits for it on all nodes, and for its bytes to be right. */
  async expectReady(reference: string, agents = this.agents): Promise<void> {
    await Promise.all(agents.map((agent) => agent.until(reference, 'ready', READY_MS)));
    await expectRightBlobs(agents);
  }

  /** Ends what is wrong with the registry, and all that the cluster remembers of it; waits as `expectReady` does. */
  async mend(reference: string): Promise<void> {
    this.registry.faults.clear();
    await this.forgetRecords();
    await this.expectReady(reference);
  }

  /**
   * Waits until some node says that the image has failed for `reason`, in these words.
   * @returns what a user sees there
   */
  async seenFailing(reference: string, reason: string, words = /(?:)/): Promise<AgentImage> {
    const [first] = this.agents as [AgentProcess];
    return first.wait(`${reference}: ${reason}`, READY_MS, async () => {
      const seen = await Promise.all(this.agents.map((agent) => agent.images().catch(() => [])));
      return seen
        .flat()
        .find(
          ({ image, reason: given, message = '' }) =>
            image === reference && given === reason && words.test(message),
        );
    });
  }

  /** Lets nobody wait for minutes: what an operator may do who has mended something. */
  async forgetRecords(): Promise<void> {
    await writeFile(join(this.cluster.directory, 'lock.json'), JSON.stringify({ v: 1, records: {} }));
  }
}

/**
 * One row of the matrix: injects a fault, and tells what a user sees of it. Counted as survived when `inject` resolves.
 * @param inject resolves to what was seen, in a few words
 */
export async function survive(fault: string, inject: () => Promise<string>): Promise<void> {
  tally('faults injected');
  try {
    const seen = await inject();
    tally('survived');
    tallyLine({ fault, outcome: 'survived', seen });
  } catch (error) {
    tallyLine({
      fault,
      outcome: 'failed',
      seen: error instanceof Error ? (error.message.split('\n')[0] ?? '') : '',
    });
    throw error;
  }
}
