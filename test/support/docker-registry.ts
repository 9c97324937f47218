import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { type Digest, isDigest } from '../../src/domain/digest.js';
import { ChildDaemon } from './child-daemon.js';
import { freePort } from './free-port.js';
import { LOOPBACK, type ProcessPlace } from './process-place.js';

const START_TIMEOUT_MS = 20_000;
const SETTLE_MS = 100;

export interface DockerRegistryOptions {
  readonly port?: number;
  /** A bcrypt `htpasswd` file: basic authentication for everyone. */
  readonly htpasswdFile?: string;
  /** Loopback by default. */
  readonly place?: ProcessPlace;
}

/** One line of the access log. */
export interface RegistryRequest {
  readonly method: string;
  readonly path: string;
  readonly status: number;
  /** Of the body that was sent. */
  readonly bytes: number;
  readonly userAgent: string;
}

export interface BlobTraffic {
  readonly bytes: number;
  readonly answers: number;
}

const LOG_LINE = /^\S+ - \S+ \[[^\]]*\] "(\S+) (\S+) HTTP\/[\d.]+" (\d{3}) (\d+) "[^"]*" "([^"]*)"$/;
const BLOB_PATH = /^\/v2\/.+\/blobs\/(sha256:[0-9a-f]{64})(?:\?|$)/;

/** A real `docker-registry` (distribution) on files, on loopback unless told otherwise; its access log tells what it sent. */
export class DockerRegistry {
  private daemon: ChildDaemon | undefined;
  private forgotten = 0;

  private constructor(
    readonly directory: string,
    readonly port: number,
    private readonly place: ProcessPlace,
  ) {}

  static async start(options: DockerRegistryOptions = {}): Promise<DockerRegistry> {
    const directory = await mkdtemp(join(tmpdir(), 'reg-'));
    const { port = await freePort(), place = LOOPBACK } = options;
    const registry = new DockerRegistry(directory, port, place);
    await writeFile(join(directory, 'config.json'), JSON.stringify(registry.configuration(options)));
    try {
      await registry.resume();
    } catch (error) {
      await registry.stop();
      throw error;
    }
    return registry;
  }

  /** `<address>:<port>`, as it stands in references. */
  get host(): string {
    return `${this.place.address}:${this.port}`;
  }

  get url(): string {
    return `http://${this.host}`;
  }

  /** Starts it again, on the same port and data. */
  async resume(): Promise<void> {
    const [command, ...args] = [
      ...this.place.launcher,
      'docker-registry',
      'serve',
      join(this.directory, 'config.json'),
    ];
    this.daemon = ChildDaemon.start({
      command,
      args,
      outFile: this.accessLog,
      errFile: join(this.directory, 'log'),
    });
    await this.daemon.ready(() => fetch(`${this.url}/v2/`), START_TIMEOUT_MS);
    await this.forget();
  }

  /** Nothing listens any more; data and log stay. */
  async pause(): Promise<void> {
    await this.daemon?.kill();
  }

  async stop(): Promise<void> {
    await this.pause();
    await rm(this.directory, { recursive: true, force: true });
  }

  /** Requests answered since the start or the last `forget`, in the order in which they ended. */
  async requests(): Promise<RegistryRequest[]> {
    const log = await this.settledLog();
    return log
      .slice(this.forgotten)
      .split('\n')
      .flatMap((line) => {
        const [, method, path, status, bytes, userAgent] = LOG_LINE.exec(line) ?? [];
        if (method === undefined || path === undefined) return [];
        return [{ method, path, status: Number(status), bytes: Number(bytes), userAgent: userAgent ?? '' }];
      });
  }

  /** What left the registry per blob: bytes of bodies, in how many answers. */
  async blobTraffic(): Promise<ReadonlyMap<Digest, BlobTraffic>> {
    const traffic = new Map<Digest, BlobTraffic>();
    for (const { method, path, status, bytes } of await this.requests()) {
      const digest = BLOB_PATH.exec(path)?.[1] ?? '';
      if (method !== 'GET' || status >= 300 || !isDigest(digest)) continue;
      const before = traffic.get(digest) ?? { bytes: 0, answers: 0 };
      traffic.set(digest, { bytes: before.bytes + bytes, answers: before.answers + 1 });
    }
    return traffic;
  }

  /** Leaves what was logged until now out of what follows. */
  async forget(): Promise<void> {
    this.forgotten = (await this.settledLog()).length;
  }

  private get accessLog(): string {
    return join(this.directory, 'access.log');
  }

  /** A line is written after its answer has ended, so the client may know first: read until it grows no more. */
  private async settledLog(): Promise<string> {
    let log = await readFile(this.accessLog, 'utf8');
    for (;;) {
      await delay(SETTLE_MS);
      const next = await readFile(this.accessLog, 'utf8');
      if (next.length === log.length) return log;
      log = next;
    }
  }

  private configuration({ htpasswdFile }: DockerRegistryOptions): unknown {
    return {
      version: '0.1',
      log: { level: 'warn' },
      storage: { filesystem: { rootdirectory: join(this.directory, 'data') }, delete: { enabled: true } },
      http: { addr: this.host },
      ...(htpasswdFile === undefined ? {} : { auth: { htpasswd: { realm: 'test', path: htpasswdFile } } }),
    };
  }
}
