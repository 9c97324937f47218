import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

import { ChildDaemon } from './child-daemon.js';
import { CriClient } from './cri-client.js';
import { unmountBelow } from './mounts.js';

const START_TIMEOUT_MS = 40_000;

export interface ContainerdEngineOptions {
  /** Where another version's `containerd` and `ctr` are; by default those on `PATH`. */
  readonly binDirectory?: string;
  /** No CRI, as in the configuration that Docker's packages bring. */
  readonly withoutCri?: boolean;
  /** Drops a layer's blob once it is unpacked, as some distributions of Kubernetes do. */
  readonly discardUnpackedLayers?: boolean;
  /** Its images go there instead of below its own directory; it stays after `stop`. */
  readonly root?: string;
  /** Directory of registries' `hosts.toml`. */
  readonly certsDirectory?: string;
}

export interface ContainerdImage {
  readonly name: string;
  /** Digest of the index or manifest that the name means. */
  readonly target: string;
}

/** A real containerd of its own, any number side by side. Root on Linux only. `stop` leaves nothing behind, mounts included. */
export class ContainerdEngine {
  /** As kubelet sees it. */
  readonly cri: CriClient;
  private daemon: ChildDaemon | undefined;

  private constructor(
    readonly directory: string,
    private readonly options: ContainerdEngineOptions,
  ) {
    this.cri = new CriClient(this.socketPath);
  }

  static async start(options: ContainerdEngineOptions = {}): Promise<ContainerdEngine> {
    const engine = new ContainerdEngine(await mkdtemp(join(tmpdir(), 'ctd-')), options);
    const temporary = engine.path('tmp');
    await mkdir(temporary);
    await writeFile(engine.path('config.toml'), engine.config());
    try {
      await engine.resume();
    } catch (error) {
      await engine.stop();
      throw error;
    }
    return engine;
  }

  get socketPath(): string {
    return this.path('sock');
  }

  get pid(): number {
    if (!this.daemon) throw new Error('the engine is not running');
    return this.daemon.pid;
  }

  get isRunning(): boolean {
    return this.daemon?.running === true;
  }

  /** Where its images are. */
  get root(): string {
    return this.options.root ?? this.path('root');
  }

  /** Its content store's files, each named by the SHA-256 of its bytes. */
  get blobDirectory(): string {
    return join(this.root, 'io.containerd.content.v1.content', 'blobs', 'sha256');
  }

  /** Starts it again on the same data, after `pause` or `kill`. */
  async resume(): Promise<void> {
    this.daemon = ChildDaemon.start({
      command: this.program('containerd'),
      args: ['--config', this.path('config.toml')],
      outFile: this.path('log'),
      errFile: this.path('log'),
      env: { ...this.environment(), TMPDIR: this.path('tmp') },
    });
    const { withoutCri } = this.options;
    await this.daemon.ready(
      () => (withoutCri === true ? this.ctr(['version']) : this.cri.images()),
      START_TIMEOUT_MS,
    );
  }

  /** Stops it and keeps its data. */
  async pause(): Promise<void> {
    await this.daemon?.stop();
  }

  /** Ends it as a crash would, and keeps its data. */
  async kill(): Promise<void> {
    await this.daemon?.kill();
  }

  /** `ctr` in the namespace that Kubernetes uses; resolves with its standard output. */
  async ctr(args: readonly string[]): Promise<string> {
    const options = ['--address', this.socketPath, '--namespace', 'k8s.io'];
    const env = this.environment();
    return (await promisify(execFile)(this.program('ctr'), [...options, ...args], { env })).stdout;
  }

  async images(): Promise<ContainerdImage[]> {
    const [, ...rows] = (await this.ctr(['images', 'ls'])).trim().split('\n');
    return rows.map((row) => {
      const [name = '', , target = ''] = row.split(/\s+/);
      return { name, target };
    });
  }

  async stop(): Promise<void> {
    this.cri.close();
    await this.pause();
    await unmountBelow(this.directory);
    await rm(this.directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }

  private path(name: string): string {
    return join(this.directory, name);
  }

  private program(name: string): string {
    const { binDirectory } = this.options;
    return binDirectory === undefined ? name : join(binDirectory, name);
  }

  private environment(): NodeJS.ProcessEnv {
    const { binDirectory } = this.options;
    const path = [binDirectory, process.env['PATH']].filter((part) => part !== undefined).join(delimiter);
    return { ...process.env, PATH: path };
  }

  private config(): string {
    const { withoutCri, discardUnpackedLayers, certsDirectory } = this.options;
    const cri = 'io.containerd.grpc.v1.cri';
    // NRI of 2.x has one socket for the whole machine.
    const disabled = ['io.containerd.nri.v1.nri', ...(withoutCri === true ? [cri] : [])];
    return [
      'version = 2',
      `root = "${this.root}"`,
      `state = "${this.path('state')}"`,
      `disabled_plugins = ${JSON.stringify(disabled)}`,
      `[grpc]\naddress = "${this.socketPath}"`,
      `[plugins."io.containerd.internal.v1.opt"]\npath = "${this.path('opt')}"`,
      `[plugins."${cri}".containerd]\ndiscard_unpacked_layers = ${discardUnpackedLayers === true}`,
      ...(certsDirectory === undefined
        ? []
        : [`[plugins."${cri}".registry]\nconfig_path = "${certsDirectory}"`]),
    ].join('\n');
  }
}
