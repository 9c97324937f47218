import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 50;
const STOP_TIMEOUT_MS = 15_000;

export interface DaemonOptions {
  readonly command: string;
  readonly args: readonly string[];
  /** Standard output and standard error are appended here. */
  readonly outFile: string;
  readonly errFile: string;
  readonly env?: NodeJS.ProcessEnv;
}

/** A server process that a test owns: stopped by its pid, and killed by the kernel when the test's process dies. */
export class ChildDaemon {
  private constructor(
    private readonly child: ChildProcess,
    private readonly options: DaemonOptions,
  ) {}

  static start(options: DaemonOptions): ChildDaemon {
    const out = openSync(options.outFile, 'a');
    const err = openSync(options.errFile, 'a');
    try {
      const child = spawn('setpriv', ['--pdeathsig', 'KILL', options.command, ...options.args], {
        stdio: ['ignore', out, err],
        env: options.env ?? process.env,
      });
      child.on('error', () => undefined); // shows as an early exit in `ready`
      return new ChildDaemon(child, options);
    } finally {
      closeSync(out);
      closeSync(err);
    }
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error(`${this.options.command} did not start`);
    return this.child.pid;
  }

  get running(): boolean {
    return this.child.pid !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Resolves when `probe` does; throws with the end of the log when the process dies or `timeoutMs` passes first. */
  async ready(probe: () => Promise<unknown>, timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (this.running && performance.now() < deadline) {
      try {
        await probe();
        return;
      } catch {
        await delay(POLL_MS);
      }
    }
    const log = await readFile(this.options.errFile, 'utf8').catch(() => '');
    const state = this.running ? `did not answer within ${timeoutMs} ms` : 'exited at once';
    await this.stop();
    throw new Error(`${this.options.command} ${state}:\n${log.slice(-2000)}`);
  }

  /** Asks it to end, and kills it when it has not after 15 s. */
  async stop(): Promise<void> {
    if (!this.running) return;
    const exited = once(this.child, 'exit');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    this.child.kill('SIGTERM');
    await exited;
    clearTimeout(timer);
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    if (!this.running) return;
    const exited = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await exited;
  }
}
