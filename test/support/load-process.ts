import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

/** What a process of its own, `load-generator.ts`, does to an agent, until it has done it or is told to stop. */
export type LoadOrder =
  | {
      /** Sends requests at their times, whether those before were answered or not. */
      readonly kind: 'paced';
      readonly url: string;
      readonly requestsPerSecond: number;
      /** So many; without one, until it is stopped. */
      readonly count?: number;
    }
  | {
      /** Holds connections open that have seen one request each. */
      readonly kind: 'idle';
      readonly url: string;
      readonly connections: number;
    }
  | {
      /** Agents that prove the key, each of which reads the same blob, all at once; whoever is refused tries again. */
      readonly kind: 'peers';
      readonly address: string;
      /** Hex. */
      readonly sessionKey: string;
      readonly digest: string;
      readonly peers: number;
    };

export interface LoadResult {
  /** Answers by status. */
  readonly statuses: Readonly<Record<string, number>>;
  /** Requests without a whole answer. */
  readonly unanswered: number;
  /** Answers with other bytes than they should have had. */
  readonly wrong: number;
  /** From when a request should have been sent until its answer was read. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly slowestMs: number;
}

export type LoadMessage =
  { readonly event: 'going' } | { readonly event: 'done'; readonly result: LoadResult };

/** Load comes from a process of its own, so that neither the agent nor whoever measures it waits for it. */
export class LoadProcess {
  private readonly going: Promise<undefined>;
  private readonly result: Promise<LoadResult>;

  private constructor(private readonly child: ChildProcess) {
    const going = Promise.withResolvers<undefined>();
    const result = Promise.withResolvers<LoadResult>();
    child.on('message', (message: LoadMessage) => {
      if (message.event === 'going') going.resolve(undefined);
      else result.resolve(message.result);
    });
    child.on('exit', (code, signal) => {
      const error = new Error(`the load generator ended with ${code ?? signal ?? 'nothing'}`);
      going.reject(error);
      result.reject(error);
    });
    // Whoever waits for it hears of it.
    going.promise.catch(() => undefined);
    result.promise.catch(() => undefined);
    this.going = going.promise;
    this.result = result.promise;
  }

  /** Resolves when it has begun, or, of `idle`, when all connections are there. */
  static async start(order: LoadOrder): Promise<LoadProcess> {
    const child = fork(join(__dirname, 'load-generator.ts'), [JSON.stringify(order)], {
      execArgv: ['--import', join(__dirname, 'typescript-loader.mjs')],
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    const load = new LoadProcess(child);
    try {
      await load.going;
    } catch (error) {
      await load.end();
      throw error;
    }
    return load;
  }

  /** Resolves when all is done that was ordered. */
  done(): Promise<LoadResult> {
    return this.result;
  }

  /** Sends nothing more and waits for what is on its way. */
  async stop(): Promise<LoadResult> {
    if (this.child.connected) this.child.send('stop');
    return this.result;
  }

  async end(): Promise<void> {
    const { child } = this;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }
}
