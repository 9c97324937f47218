import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { ChildDaemon } from './child-daemon.js';
import { unmountBelow } from './mounts.js';

const START_TIMEOUT_MS = 20_000;

export interface ContainerdImage {
  readonly name: string;
  /** Digest of the index or manifest that the name means. */
  readonly target: string;
}

/** A real containerd of its own, without CRI. Root on Linux only. `stop` leaves nothing behind, mounts included. */
export class ContainerdEngine {
  private constructor(
    private readonly directory: string,
    private readonly daemon: ChildDaemon,
  ) {}

  static async start(): Promise<ContainerdEngine> {
    const directory = await mkdtemp(join(tmpdir(), 'ctd-'));
    const path = (name: string): string => join(directory, name);
    const config = [
      'version = 2',
      `root = "${path('root')}"`,
      `state = "${path('state')}"`,
      'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
      `[grpc]\naddress = "${path('sock')}"`,
      `[plugins."io.containerd.internal.v1.opt"]\npath = "${path('opt')}"`,
    ];
    await writeFile(path('config.toml'), config.join('\n'));
    const daemon = ChildDaemon.start({
      command: 'containerd',
      args: ['--config', path('config.toml')],
      outFile: path('log'),
      errFile: path('log'),
    });
    const engine = new ContainerdEngine(directory, daemon);
    try {
      await daemon.ready(() => engine.ctr(['version']), START_TIMEOUT_MS);
    } catch (error) {
      await engine.stop();
      throw error;
    }
    return engine;
  }

  /** `ctr` in the namespace that Kubernetes uses; resolves with its standard output. */
  async ctr(args: readonly string[]): Promise<string> {
    const options = ['--address', join(this.directory, 'sock'), '--namespace', 'k8s.io'];
    return (await promisify(execFile)('ctr', [...options, ...args])).stdout;
  }

  async images(): Promise<ContainerdImage[]> {
    const [, ...rows] = (await this.ctr(['images', 'ls'])).trim().split('\n');
    return rows.map((row) => {
      const [name = '', , target = ''] = row.split(/\s+/);
      return { name, target };
    });
  }

  async stop(): Promise<void> {
    await this.daemon.stop();
    await unmountBelow(this.directory);
    await rm(this.directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}
