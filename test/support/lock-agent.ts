/**
 * One process of the lock's cluster tests: it wants every image all the time, and "pulls" one, in steps of 50 ms, while
 * its lease lets it. Every step goes to standard output with CLOCK_MONOTONIC's time, which all processes of a host share.
 */
import { randomBytes } from 'node:crypto';
import { writeSync } from 'node:fs';
import { createServer, get } from 'node:http';

import { systemClock } from '../../src/common/clock.js';
import { digestOf } from '../../src/domain/digest.js';
import { messageOf } from '../../src/domain/errors.js';
import { KubernetesClient } from '../../src/kubernetes/kubernetes-client.js';
import type { ProbeResult } from '../../src/lock/holder-probe.js';
import { KubernetesLockStore } from '../../src/lock/kubernetes/kubernetes-lock-store.js';
import type { Lease } from '../../src/lock/lease.js';
import { LockNode } from './lock-node.js';

export interface LockAgentSettings {
  readonly node: string;
  /** Of this process and all others, on loopback, by node. */
  readonly ports: Readonly<Record<string, number>>;
  readonly images: readonly string[];
  readonly namespace: string;
  readonly configMap: string;
  readonly keySecret: string;
  readonly lockTimeoutMs: number;
}

export type LockAgentCommand =
  { readonly command: 'pull'; readonly minMs: number; readonly maxMs: number } | { readonly command: 'stop' };

export interface LockAgentEvent {
  readonly event: 'up' | 'start' | 'step' | 'end' | 'error' | 'idle';
  readonly node: string;
  readonly atMs: number;
  readonly image?: string;
  readonly message?: string;
}

const STEP_MS = 50;
const PROBE_TIMEOUT_MS = 1000;

const settings = JSON.parse(process.argv[2] ?? '') as LockAgentSettings;
const { node, ports } = settings;
const instance = randomBytes(8).toString('hex');

function log(event: LockAgentEvent['event'], rest: { image?: string; message?: string } = {}): void {
  const atMs = Number(process.hrtime.bigint()) / 1e6;
  writeSync(1, `${JSON.stringify({ event, node, atMs, ...rest } satisfies LockAgentEvent)}\n`);
}

const client = new KubernetesClient(
  {
    inCluster: false,
    kubernetes: {
      namespace: settings.namespace,
      lockConfigMap: settings.configMap,
      keySecret: settings.keySecret,
    },
  },
  systemClock,
);

/** As the agents do: the first one makes the key, and all take what is there. */
async function readKey(): Promise<Buffer> {
  const { signal } = new AbortController();
  const existing = await client.readSecret(settings.keySecret, signal);
  if (existing?.['peer-key']) return existing['peer-key'];
  await client.createSecret(settings.keySecret, { 'peer-key': randomBytes(32) }, signal);
  const key = (await client.readSecret(settings.keySecret, signal))?.['peer-key'];
  if (!key) throw new Error('no key');
  return key;
}

function probe(address: string): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const request = get(`http://${address}/`, { timeout: PROBE_TIMEOUT_MS, agent: false }, (answer) => {
      answer.setEncoding('utf8').on('data', (text: string) => {
        resolve(JSON.parse(text) as { instance: string; node: string });
      });
      answer.on('error', () => resolve('silent'));
    });
    request.on('timeout', () => request.destroy());
    request.on('error', (error) =>
      resolve('code' in error && error.code === 'ECONNREFUSED' ? 'refused' : 'silent'),
    );
  });
}

async function pull(lease: Lease, durationMs: number): Promise<void> {
  const { image } = lease.key;
  log('start', { image });
  await lease.publish(digestOf(Buffer.from(image)), 'registry');
  const untilMs = systemClock.monotonicMs() + durationMs;
  while (systemClock.monotonicMs() < untilMs && lease.mayReadRegistry()) {
    log('step', { image });
    await systemClock.sleep(STEP_MS, lease.signal).catch(() => undefined);
  }
}

async function want(
  lock: LockNode['lock'],
  image: string,
  [minMs, maxMs]: readonly [number, number],
  signal: AbortSignal,
): Promise<void> {
  const key = { image, platform: 'linux/amd64' };
  const isOver = () => signal.aborted;
  while (!isOver()) {
    let lease: Lease | undefined;
    try {
      await lock.lookup(key, signal);
      lease = await lock.acquire(key, signal);
      if (lease) await pull(lease, minMs + Math.random() * (maxMs - minMs));
    } catch (error) {
      if (!isOver() && !lease?.signal.aborted) log('error', { image, message: messageOf(error) });
    } finally {
      await lease?.release();
      if (lease) log('end', { image });
    }
    await systemClock.sleep(lock.pollIntervalMs(), signal).catch(() => undefined);
  }
}

const key = await readKey();
const { lock } = new LockNode({
  store: new KubernetesLockStore(client, settings.configMap),
  clock: systemClock,
  node,
  instance,
  address: `127.0.0.1:${ports[node] ?? 0}`,
  timeoutMs: settings.lockTimeoutMs,
  probe: { probe },
  nodes: () => Object.keys(ports),
  key: { current: () => Promise.resolve([key]), suspect: () => undefined },
});

let stopped = new AbortController();
let work: Promise<unknown> = Promise.resolve();
process.on('message', (message: LockAgentCommand) => {
  if (message.command === 'pull') {
    stopped = new AbortController();
    const { signal } = stopped;
    const range = [message.minMs, message.maxMs] as const;
    work = Promise.all(settings.images.map((image) => want(lock, image, range, signal)));
  } else {
    stopped.abort();
    void work.then(() => log('idle'));
  }
});
// The test has ended, in whatever way.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
createServer((_request, response) => response.end(JSON.stringify({ instance, node }))).listen(
  ports[node],
  '127.0.0.1',
  () => log('up'),
);
