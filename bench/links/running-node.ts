import { setTimeout as delay } from 'node:timers/promises';

import type { AgentImage, AgentProcess } from '../../test/support/agent-process.js';
import { ProcessMeter } from '../process-meter.js';
import type { LinkHost } from './link-host.js';

const TRANSFER_MS = 600_000;
/** So seldom is a node asked how far it is: it is to have other things to do. */
const LOOK_MS = 250;

/** What one node has done for an image, up to the moment when it had all of it. */
export interface NodeResult {
  readonly node: string;
  /** On the wall clock. */
  readonly endedMs: number;
  readonly receivedBytes: number;
  readonly cpuSeconds: number;
  readonly peakMiB: number;
  /** Between two ticks of the event loop's monitor: the delay is what is more than its period. */
  readonly tickP99Ms: number;
}

/** An agent on a host of its own, as it gets one image. */
export class RunningNode {
  constructor(
    readonly agent: AgentProcess,
    readonly host: LinkHost,
    private readonly reference: string,
  ) {}

  get name(): string {
    return this.agent.node;
  }

  /** Resolves when it has `part` of the image's bytes, less than all of them. */
  async has(part: number): Promise<void> {
    await this.until(({ bytesDone, bytesTotal }) => bytesTotal > 0 && bytesDone >= part * bytesTotal);
  }

  /** @returns when every blob was there, verified, on the wall clock: the agent says so itself, later */
  private async arrival(): Promise<number> {
    const { since } = await this.until(({ state }) => state === 'loading' || state === 'ready');
    return Date.parse(since);
  }

  private async until(test: (status: AgentImage) => boolean): Promise<AgentImage> {
    const limitMs = performance.now() + TRANSFER_MS;
    for (;;) {
      const status = (await this.agent.images()).find(({ image }) => image === this.reference);
      if (status?.state === 'failed') throw new Error(`${this.name}: ${status.message ?? 'failed'}`);
      if (status && test(status)) return status;
      if (performance.now() > limitMs)
        throw new Error(`${this.name} does not get on: ${JSON.stringify(status)}`);
      await delay(LOOK_MS);
    }
  }

  /** Measures from now on until it has the image. */
  async measure(): Promise<NodeResult> {
    const { agent } = this;
    const meter = new ProcessMeter(agent.pid);
    // Reading the metric begins it anew.
    await agent.metric('nodejs_eventloop_lag_p99_seconds');
    const cpuBefore = await meter.cpuSeconds();
    const { result, peakMiB } = await meter.peakMiB(async () => {
      const endedMs = await this.arrival();
      return { endedMs, cpuSeconds: (await meter.cpuSeconds()) - cpuBefore };
    });
    const tickP99Ms = (await agent.metric('nodejs_eventloop_lag_p99_seconds')) * 1000;
    const receivedBytes = await agent.metric('image_preheat_peer_received_bytes_total');
    return { node: this.name, ...result, peakMiB, tickP99Ms, receivedBytes };
  }

  /** To all others together. */
  async sentBytes(): Promise<number> {
    return this.agent.metric('image_preheat_peer_sent_bytes_total');
  }

  /** Of blobs, out of the registry. */
  async registryBytes(): Promise<number> {
    return this.agent.metric('image_preheat_registry_bytes_total');
  }
}
