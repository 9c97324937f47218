import { z } from 'zod';

import type { Clock } from '../../common/clock.js';
import type { ContainerdClient } from './containerd-client.js';

const POLL_MS = 1000;
/** Measuring a layer that is being unpacked walks its files: it gets one part in so many of the time. */
const MEASURING_SHARE = 20;

const ingests = z.object({ statuses: z.array(z.object({ ref: z.string(), offset: z.string() })) });
const snapshots = z.object({ info: z.array(z.object({ name: z.string() })) });
const usage = z.object({ size: z.string(), inodes: z.string() });

/**
 * Signs of life of a pull, of which CRI tells nothing until its end: the downloads and the unpacking that containerd has
 * under way. They may be another pull's; one that waits behind it is alive, too.
 */
export class PullWatch {
  constructor(
    private readonly client: ContainerdClient,
    private readonly clock: Clock,
  ) {}

  /**
   * Looks until `signal` aborts, and calls `onProgress` when something has changed; a containerd that does not answer has
   * not. Never rejects.
   */
  async run(snapshotter: string, onProgress: () => void, signal: AbortSignal): Promise<void> {
    let before = '';
    while (!signal.aborted) {
      const startedMs = this.clock.monotonicMs();
      try {
        const now = await this.look(snapshotter, signal);
        if (now !== before) onProgress();
        before = now;
        const tookMs = this.clock.monotonicMs() - startedMs;
        await this.clock.sleep(Math.max(POLL_MS, tookMs * MEASURING_SHARE), signal);
      } catch {
        await this.clock.sleep(POLL_MS, signal).catch(() => undefined);
      }
    }
  }

  private async look(snapshotter: string, signal: AbortSignal): Promise<string> {
    const [downloads, layers] = await Promise.all([this.downloads(signal), this.layers(snapshotter, signal)]);
    return [...downloads, ...layers].join('\n');
  }

  private async downloads(signal: AbortSignal): Promise<string[]> {
    const call = {
      service: 'containerd.services.content.v1.Content',
      method: 'ListStatuses',
      request: { filters: [] },
    };
    const { statuses } = await this.client.ask(call, ingests, signal);
    return statuses.map(({ ref, offset }) => `${ref} ${offset}`);
  }

  /** A layer being unpacked is an active snapshot with a key that begins so. */
  private async layers(snapshotter: string, signal: AbortSignal): Promise<string[]> {
    const service = 'containerd.services.snapshots.v1.Snapshots';
    const filters = ['kind==active,name~="^extract-"'];
    const list = { service, method: 'List', request: { snapshotter, filters } };
    const layers: string[] = [];
    for await (const { info } of this.client.read(list, snapshots, signal)) {
      for (const { name } of info) {
        const measure = { service, method: 'Usage', request: { snapshotter, key: name } };
        const { size, inodes } = await this.client.ask(measure, usage, signal);
        layers.push(`${name} ${size} ${inodes}`);
      }
    }
    return layers;
  }
}
