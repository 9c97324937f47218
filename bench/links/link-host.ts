import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import type { ProcessPlace } from '../../test/support/process-place.js';

const run = promisify(execFile);

/** The bucket holds two packets as they are before segmentation (64 KiB): of a smaller one, software would have to cut them. */
const BURST = '128kb';
/** What waits for the link at most, about as much as a switch keeps. */
const QUEUE = '50ms';

/** One end of a link. */
export interface LinkEnd {
  readonly namespace: string;
  readonly device: string;
}

/** A network namespace behind a link of its own. */
export class LinkHost implements ProcessPlace {
  readonly launcher: readonly string[];

  /** @param addresses the one it is known by, then others */
  constructor(
    readonly addresses: readonly string[],
    private readonly inner: LinkEnd,
    private readonly outer: LinkEnd,
  ) {
    // Not `ip netns exec`: that mounts another /sys, in which dockerd does not find its cgroups.
    this.launcher = ['nsenter', `--net=/run/netns/${inner.namespace}`];
  }

  get address(): string {
    return this.addresses[0] ?? '';
  }

  /** From now on no more than this passes, each way by itself, framing included. */
  async shape(megabitsPerSecond: number): Promise<void> {
    const filter = ['tbf', 'rate', `${megabitsPerSecond}mbit`, 'burst', BURST, 'latency', QUEUE];
    for (const { namespace, device } of [this.inner, this.outer])
      await run('tc', ['-n', namespace, 'qdisc', 'replace', 'dev', device, 'root', ...filter]);
  }

  /** What has left the host since its link was shaped, framing included. */
  async sentBytes(): Promise<number> {
    const { namespace, device } = this.inner;
    const { stdout } = await run('tc', ['-n', namespace, '-s', '-j', 'qdisc', 'show', 'dev', device]);
    const [root] = JSON.parse(stdout) as { bytes?: number }[];
    return root?.bytes ?? 0;
  }
}
