/** The process behind `LoadProcess`: does what its one argument, a `LoadOrder`, says, and tells what came of it. */
import { createHash } from 'node:crypto';
import { Agent as HttpAgent, get } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

import { Pool } from 'undici';

import { parseAddress } from '../../src/peers/peer-address.js';
import type { LoadMessage, LoadOrder, LoadResult } from './load-process.js';
import { newIdentity, SessionClient } from './session-client.js';

const TICK_MS = 5;
const CONNECTIONS = 64;
const ANSWER_MS = 60_000;
/** Between two tries of a peer that was refused. */
const RETRY_MS = 50;

type OrderOf<Kind extends LoadOrder['kind']> = Extract<LoadOrder, { kind: Kind }>;

const stopped = new AbortController();
process.on('message', () => stopped.abort());

function tell(message: LoadMessage): void {
  process.send?.(message);
}

/** Counts what comes back. */
class Answers {
  private readonly statuses: Record<string, number> = {};
  private readonly durationsMs: number[] = [];
  unanswered = 0;
  wrong = 0;

  add(status: number, durationMs: number): void {
    this.statuses[status] = (this.statuses[status] ?? 0) + 1;
    this.durationsMs.push(durationMs);
  }

  result(): LoadResult {
    const { statuses, unanswered, wrong } = this;
    const sorted = this.durationsMs.toSorted((one, other) => one - other);
    const quantile = (part: number): number => sorted[Math.ceil(sorted.length * part) - 1] ?? 0;
    return {
      ...{ statuses, unanswered, wrong },
      ...{ p50Ms: quantile(0.5), p99Ms: quantile(0.99), slowestMs: quantile(1) },
    };
  }
}

async function paced({ url, requestsPerSecond, count = Infinity }: OrderOf<'paced'>): Promise<LoadResult> {
  const { origin, pathname, search } = new URL(url);
  const pool = new Pool(origin, {
    connections: CONNECTIONS,
    bodyTimeout: ANSWER_MS,
    headersTimeout: ANSWER_MS,
  });
  const answers = new Answers();
  const send = async (dueMs: number): Promise<void> => {
    try {
      const { statusCode, body } = await pool.request({ path: `${pathname}${search}`, method: 'GET' });
      await body.dump();
      answers.add(statusCode, performance.now() - dueMs);
    } catch {
      answers.unanswered += 1;
    }
  };
  const startedMs = performance.now();
  const underway = new Set<Promise<void>>();
  tell({ event: 'going' });
  const dueMs = (index: number): number => startedMs + (index * 1000) / requestsPerSecond;
  let sent = 0;
  while (sent < count && !stopped.signal.aborted) {
    for (; sent < count && dueMs(sent) <= performance.now(); sent += 1) {
      const request = send(dueMs(sent)).finally(() => underway.delete(request));
      underway.add(request);
    }
    await delay(TICK_MS);
  }
  await Promise.all(underway);
  await pool.close();
  return answers.result();
}

async function idle({ url, connections }: OrderOf<'idle'>): Promise<LoadResult> {
  const answers = new Answers();
  const agent = new HttpAgent({ keepAlive: true, maxFreeSockets: connections });
  // All at once: each needs a connection of its own, which it then leaves open.
  const open = (): Promise<void> =>
    new Promise((resolve) => {
      const startedMs = performance.now();
      get(url, { agent }, (response) => {
        response.resume().on('end', () => {
          answers.add(response.statusCode ?? 0, performance.now() - startedMs);
          resolve();
        });
      }).on('error', () => {
        answers.unanswered += 1;
        resolve();
      });
    });
  await Promise.all(Array.from({ length: connections }, open));
  tell({ event: 'going' });
  while (!stopped.signal.aborted) await delay(TICK_MS);
  agent.destroy();
  return answers.result();
}

async function peers({ address, sessionKey, digest, peers: count }: OrderOf<'peers'>): Promise<LoadResult> {
  const answers = new Answers();
  const key = Buffer.from(sessionKey, 'hex');
  const callee = parseAddress(address);
  if (!callee) throw new Error(`not an address: ${address}`);
  const path = `/v2/preheat/blobs/${digest}`;
  const pool = new Pool(`http://${address}`, { connections: count, bodyTimeout: ANSWER_MS });
  const read = async (client: SessionClient): Promise<boolean> => {
    const startedMs = performance.now();
    const headers = { authorization: client.sign('GET', path) };
    const { statusCode, body } = await pool.request({ path, method: 'GET', headers });
    const hash = createHash('sha256');
    for await (const piece of body) hash.update(piece as Buffer);
    answers.add(statusCode, performance.now() - startedMs);
    if (statusCode !== 200) return false;
    if (`sha256:${hash.digest('hex')}` !== digest) answers.wrong += 1;
    return true;
  };
  const pull = async (client: SessionClient): Promise<void> => {
    try {
      while (!(await read(client))) await delay(RETRY_MS);
    } catch {
      answers.unanswered += 1;
    }
  };
  const clients: SessionClient[] = [];
  for (let index = 0; index < count; index += 1)
    clients.push(await SessionClient.meet(callee, key, newIdentity(`peer-${index}`)));
  tell({ event: 'going' });
  await Promise.all(clients.map(pull));
  await pool.close();
  return answers.result();
}

function carryOut(order: LoadOrder): Promise<LoadResult> {
  if (order.kind === 'paced') return paced(order);
  return order.kind === 'idle' ? idle(order) : peers(order);
}

tell({ event: 'done', result: await carryOut(JSON.parse(process.argv[2] ?? '') as LoadOrder) });
process.disconnect();
