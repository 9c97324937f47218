import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

import Docker from 'dockerode';

import { ChildDaemon } from './child-daemon.js';
import { unmountBelow } from './mounts.js';
import { LOOPBACK, type ProcessPlace } from './process-place.js';

const START_TIMEOUT_MS = 40_000;
const API_PORT = 2375;

export interface DockerEngineOptions {
  /** Where another version's `dockerd` and its companions are; by default those on `PATH`. */
  readonly binDirectory?: string;
  /** The containerd image store instead of the classic one; needs Docker 24 or newer. */
  readonly containerdStore?: boolean;
  /** Registries that the daemon speaks plain HTTP to; loopback ones always are. */
  readonly insecureRegistries?: readonly string[];
  /** How often the classic store tries a layer that breaks off, with growing delays; the engine's default is 5. */
  readonly maxDownloadAttempts?: number;
  /** Where its images are, temporary files too; by default below its own directory. `stop` leaves what is there. */
  readonly dataRoot?: string;
  /** Where it runs, and pulls from; loopback by default. Elsewhere its API is reached over TCP as well, without TLS. */
  readonly place?: ProcessPlace;
}

/**
 * A real Docker Engine of its own: data, sockets and containerd under one temporary directory, no network, any number
 * side by side. Root on Linux only. `stop` leaves nothing behind, mounts included.
 */
export class DockerEngine {
  /** For requests a test makes itself, past the code under test. */
  readonly client: Docker;
  private daemon: ChildDaemon | undefined;

  private constructor(
    readonly directory: string,
    private readonly options: DockerEngineOptions,
  ) {
    this.client = new Docker({ socketPath: this.socketPath });
  }

  static async start(options: DockerEngineOptions = {}): Promise<DockerEngine> {
    // Short: a socket's path may have 107 bytes, and dockerd adds its own parts.
    const engine = new DockerEngine(await mkdtemp(join(tmpdir(), 'dkr-')), options);
    await writeFile(
      join(engine.directory, 'daemon.json'),
      JSON.stringify({
        'insecure-registries': options.insecureRegistries ?? [],
        'max-download-attempts': options.maxDownloadAttempts ?? 5,
        features: options.containerdStore === true ? { 'containerd-snapshotter': true } : {},
      }),
    );
    await mkdir(join(engine.directory, 'tmp'));
    try {
      await engine.resume();
    } catch (error) {
      await engine.stop();
      throw error;
    }
    return engine;
  }

  get socketPath(): string {
    return join(this.directory, 'sock');
  }

  /** As `DOCKER_HOST` wants it. */
  get host(): string {
    return `unix://${this.socketPath}`;
  }

  /** The same for other hosts of the network that it was placed in. */
  get remoteHost(): string {
    return `tcp://${this.place.address}:${API_PORT}`;
  }

  get pid(): number {
    if (!this.daemon) throw new Error('the engine is not running');
    return this.daemon.pid;
  }

  /** Starts the daemon again on the same data, after `pause` or `kill`. */
  async resume(): Promise<void> {
    const path = (name: string): string => join(this.directory, name);
    const { binDirectory, dataRoot = path('data') } = this.options;
    const temporary = this.options.dataRoot === undefined ? path('tmp') : join(dataRoot, 'tmp');
    // Apart from any containerd that runs on the machine: dockerd shares that one when it finds it.
    const namespace = `test-${randomBytes(4).toString('hex')}`;
    const [command, ...launched] = [
      ...this.place.launcher,
      binDirectory === undefined ? 'dockerd' : join(binDirectory, 'dockerd'),
    ];
    this.daemon = ChildDaemon.start({
      command,
      args: [
        ...launched,
        // Said explicitly, or it waits for 15 s with its warning.
        ...(this.place === LOOPBACK ? [] : ['--host', this.remoteHost, '--tls=false']),
        ...['--config-file', path('daemon.json'), '--data-root', dataRoot, '--exec-root', path('exec')],
        ...['--pidfile', path('pid'), '--host', this.host, '--iptables=false', '--ip6tables=false'],
        ...['--bridge=none', '--containerd-namespace', namespace],
        ...['--containerd-plugins-namespace', `${namespace}-plugins`],
      ],
      outFile: path('log'),
      errFile: path('log'),
      env: {
        ...process.env,
        PATH: [binDirectory, process.env['PATH']].filter((part) => part !== undefined).join(delimiter),
        TMPDIR: temporary,
        DOCKER_TMPDIR: temporary,
      },
    });
    await this.daemon.ready(() => this.client.ping(), START_TIMEOUT_MS);
  }

  /** Stops the daemon and keeps its data. */
  async pause(): Promise<void> {
    await this.daemon?.stop();
    await this.killContainerd();
  }

  /** Ends the daemon as a crash would, and keeps its data. */
  async kill(): Promise<void> {
    await this.daemon?.kill();
    await this.killContainerd();
  }

  async stop(): Promise<void> {
    await this.pause();
    await unmountBelow(this.directory);
    if (this.options.dataRoot !== undefined) await unmountBelow(this.options.dataRoot);
    await rm(this.directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }

  private get place(): ProcessPlace {
    return this.options.place ?? LOOPBACK;
  }

  /** Its own containerd may survive a daemon that was killed; a stale pid file would keep the next one from starting. */
  private async killContainerd(): Promise<void> {
    const containerd = join(this.directory, 'exec', 'containerd');
    const pidFile = join(containerd, 'containerd.pid');
    const pid = Number(await readFile(pidFile, 'utf8').catch(() => ''));
    if (!Number.isInteger(pid) || pid <= 1) return;
    const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (commandLine.includes(this.directory)) process.kill(pid, 'SIGKILL');
    await rm(containerd, { recursive: true, force: true });
  }
}
