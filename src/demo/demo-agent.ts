import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { z } from 'zod';

const AGENT = fileURLToPath(new URL('../main.js', import.meta.url));
const STOP_LIMIT_MS = 15_000;

const images = z.object({
  images: z.array(
    z.object({
      image: z.string(),
      state: z.string(),
      source: z.string().optional(),
      bytesDone: z.number(),
      bytesTotal: z.number(),
      reason: z.string().optional(),
      message: z.string().optional(),
    }),
  ),
});
export type DemoImageStatus = z.infer<typeof images>['images'][number];

export interface DemoAgentOptions {
  readonly node: string;
  readonly directory: string;
  readonly port: number;
  readonly mirrorPort: number;
  /** Settings that all agents share. */
  readonly environment: Readonly<Record<string, string>>;
}

/** One agent as a process of its own, started as `npm start` would. */
export class DemoAgent {
  private constructor(
    readonly node: string,
    /** Where its log lines go. */
    readonly logFile: string,
    private readonly port: number,
    private readonly child: ChildProcess,
  ) {}

  static async start({
    node,
    directory,
    port,
    mirrorPort,
    environment,
  }: DemoAgentOptions): Promise<DemoAgent> {
    await mkdir(directory, { recursive: true });
    const logFile = join(directory, 'agent.log');
    const log = await open(logFile, 'w');
    const child = spawn(process.execPath, [AGENT], {
      env: {
        PATH: process.env['PATH'] ?? '',
        ...environment,
        NODE_NAME: node,
        HOST: '127.0.0.1',
        POD_IP: '127.0.0.1',
        PORT: String(port),
        MIRROR_PORT: String(mirrorPort),
        STORE_DIR: join(directory, 'store'),
      },
      stdio: ['ignore', log.fd, log.fd],
    });
    await log.close();
    return new DemoAgent(node, logFile, port, child);
  }

  /** Undefined while it does not answer; throws when it has died. */
  async images(): Promise<DemoImageStatus[] | undefined> {
    const { exitCode, signalCode } = this.child;
    const end = exitCode ?? signalCode;
    if (end !== null) throw new Error(`${this.node} ended with ${end}; see ${this.logFile}`);
    const text = await this.get('/images');
    return text === undefined ? undefined : images.parse(JSON.parse(text)).images;
  }

  /** A counter without labels. */
  async counter(name: string): Promise<number> {
    const text = (await this.get('/metrics')) ?? '';
    return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? NaN);
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exited = once(this.child, 'exit');
    this.child.kill('SIGTERM');
    const limit = setTimeout(() => this.child.kill('SIGKILL'), STOP_LIMIT_MS);
    await exited;
    clearTimeout(limit);
  }

  private async get(path: string): Promise<string | undefined> {
    try {
      const response = await fetch(`http://127.0.0.1:${this.port}${path}`, {
        signal: AbortSignal.timeout(5000),
      });
      return await response.text();
    } catch {
      return undefined;
    }
  }
}
