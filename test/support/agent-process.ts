import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { formatAddress } from '../../src/peers/peer-address.js';
import { freePort } from './free-port.js';
import { LOOPBACK, type ProcessPlace } from './process-place.js';

/** As the container image runs it: small pieces of garbage never fill more memory than transfers do. */
const NODE_FLAGS = ['--max-semi-space-size=4'];

export interface AgentImage {
  readonly image: string;
  readonly state: string;
  /** When it entered the state. */
  readonly since: string;
  readonly digest?: string;
  readonly source?: string;
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly drift?: boolean;
  readonly reason?: string;
  readonly message?: string;
  readonly retryAt?: string;
}

export interface AgentOptions {
  readonly node: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Loopback by default. */
  readonly place?: ProcessPlace | undefined;
}

/** The built agent (`dist/main.js` below the working directory, or another build) as a process, in a directory of its own. Waits are bounded and end with its log. */
export class AgentProcess {
  private child: ChildProcess | undefined;
  private main = resolve('dist/main.js');

  private constructor(
    readonly node: string,
    readonly directory: string,
    readonly port: number,
    readonly mirrorPort: number,
    private readonly environment: Record<string, string>,
    private readonly place: ProcessPlace,
  ) {}

  /** Prepares an agent without starting it, so that its address can be told to others. */
  static async prepare({ node, environment, place = LOOPBACK }: AgentOptions): Promise<AgentProcess> {
    const directory = await mkdtemp(join(tmpdir(), `agent-${node}-`));
    await mkdir(join(directory, 'archives'));
    await writeFile(join(directory, 'images.list'), '');
    return new AgentProcess(node, directory, await freePort(), await freePort(), { ...environment }, place);
  }

  get address(): string {
    return formatAddress({ host: this.place.address, port: this.port });
  }

  get url(): string {
    return `http://${this.address}`;
  }

  get storeDirectory(): string {
    return join(this.directory, 'store');
  }

  get archiveDirectory(): string {
    return join(this.directory, 'archives');
  }

  get listPath(): string {
    return join(this.directory, 'images.list');
  }

  get logFile(): string {
    return join(this.directory, 'agent.log');
  }

  get pid(): number {
    if (this.child?.pid === undefined) throw new Error(`${this.node} does not run`);
    return this.child.pid;
  }

  get isRunning(): boolean {
    const { child } = this;
    return child?.exitCode === null && child.signalCode === null;
  }

  /** Of the last run, once it has ended by itself or by a signal that it handles. */
  get exitCode(): number | null {
    return this.child?.exitCode ?? null;
  }

  async list(...lines: readonly string[]): Promise<void> {
    await writeFile(this.listPath, lines.map((line) => `${line}\n`).join(''));
  }

  /** Changes a setting for the next start. */
  set(name: string, value: string): void {
    this.environment[name] = value;
  }

  /** Leaves a setting out at the next start. */
  unset(name: string): void {
    Reflect.deleteProperty(this.environment, name);
  }

  /** Another build of the agent, from the next start on: the path of its `main.js`. */
  use(main: string): void {
    this.main = main;
  }

  /** Starts it; `environment` adds to what it was prepared with. */
  start(environment: Readonly<Record<string, string>> = {}): void {
    const { address, launcher } = this.place;
    const [command, ...args] = [...launcher, process.execPath, ...NODE_FLAGS, this.main];
    const child = spawn(command, args, {
      cwd: this.directory,
      env: {
        PATH: process.env['PATH'] ?? '',
        HOME: this.directory,
        NODE_NAME: this.node,
        HOST: address,
        POD_IP: address,
        PORT: String(this.port),
        MIRROR_PORT: String(this.mirrorPort),
        STORE_DIR: this.storeDirectory,
        MOUNT_DIR: this.archiveDirectory,
        IMAGE_LIST_PATH: this.listPath,
        MIN_FREE_DISK: '256MiB',
        PEER_DISCOVERY_INTERVAL: '1s',
        INTERVAL: '2s',
        LOG_LEVEL: 'debug',
        ...this.environment,
        ...environment,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const log = (chunk: Buffer): void => void appendFile(this.logFile, chunk).catch(() => undefined);
    child.stdout.on('data', log);
    child.stderr.on('data', log);
    this.child = child;
  }

  /** Ends it and waits for its end. @returns milliseconds that took */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<number> {
    const { child } = this;
    if (!child || !this.isRunning) return 0;
    const startedMs = performance.now();
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
    return performance.now() - startedMs;
  }

  /** Waits until it ends, by itself or by a signal sent before. @returns its exit code, or what killed it */
  async exit(limitMs: number): Promise<number | NodeJS.Signals> {
    const { child } = this;
    if (!child) throw new Error(`${this.node} was never started`);
    if (this.isRunning) await once(child, 'exit', { signal: AbortSignal.timeout(limitMs) });
    return child.exitCode ?? child.signalCode ?? 'SIGKILL';
  }

  /** Ends it and removes its directory. */
  async dispose(): Promise<void> {
    await this.end('SIGKILL');
    await rm(this.directory, { recursive: true, force: true });
  }

  async get(path: string, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
    return fetch(`${this.url}${path}`, { headers, signal: AbortSignal.timeout(10_000) });
  }

  async images(): Promise<readonly AgentImage[]> {
    const response = await this.get('/images');
    return ((await response.json()) as { images: AgentImage[] }).images;
  }

  /** Sum over all series of a metric whose labels contain `labels`. */
  async metric(name: string, labels = ''): Promise<number> {
    const text = await (await this.get('/metrics')).text();
    return text
      .split('\n')
      .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
      .filter((line) => line.includes(labels))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  }

  /** Waits until `image` is in `state`. */
  async until(image: string, state: string, limitMs: number): Promise<AgentImage> {
    return this.wait(`${image} is ${state}`, limitMs, async () =>
      (await this.images()).find((status) => status.image === image && status.state === state),
    );
  }

  /** Polls `probe` until it gives something; what it throws counts as nothing. */
  async wait<T>(what: string, limitMs: number, probe: () => Promise<T | undefined>): Promise<T> {
    const deadline = performance.now() + limitMs;
    for (;;) {
      const found = await probe().catch(() => undefined);
      if (found !== undefined) return found;
      if (performance.now() > deadline || (this.child && !this.isRunning)) {
        const state = JSON.stringify(await this.images().catch(() => 'no answer'));
        throw new Error(`${this.node}: not ${what} after ${limitMs} ms; ${state}\n${await this.logTail()}`);
      }
      await delay(100);
    }
  }

  async log(): Promise<string> {
    return readFile(this.logFile, 'utf8').catch(() => '');
  }

  private async logTail(): Promise<string> {
    const lines = (await this.log()).split('\n').filter((line) => !line.includes('request completed'));
    return lines.slice(-40).join('\n');
  }
}
