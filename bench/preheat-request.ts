import { setTimeout as delay } from 'node:timers/promises';

import type { AgentImage, AgentProcess } from '../test/support/agent-process.js';

const READY_MS = 300_000;
const POLL_MS = 20;

/** How long one image took, milliseconds after it was asked for. */
export interface Preheated {
  /** Until every blob was in the store; next to nothing when they were all there before. */
  readonly storedMs: number;
  readonly readyMs: number;
}

/** `POST /images/preheat` and what follows, until `reference` is ready, again or for the first time. */
export async function requestPreheat(
  agent: AgentProcess,
  reference: string,
  headers: Readonly<Record<string, string>>,
): Promise<Preheated> {
  const before = (await statusOf(agent, reference))?.since;
  const startedMs = performance.now();
  const answer = await fetch(`${agent.url}/images/preheat`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify({ images: [reference] }),
  });
  if (answer.status !== 202) throw new Error(`POST /images/preheat: ${answer.status} ${await answer.text()}`);
  let storedMs = 0;
  for (;;) {
    const status = await statusOf(agent, reference);
    const elapsedMs = performance.now() - startedMs;
    if (status?.state === 'ready' && status.since !== before) return { storedMs, readyMs: elapsedMs };
    if (status?.state === 'fetching') storedMs = elapsedMs;
    if (status?.state === 'failed') throw new Error(`${reference}: ${status.message ?? 'failed'}`);
    if (elapsedMs > READY_MS) throw new Error(`${reference} did not become ready: ${JSON.stringify(status)}`);
    await delay(POLL_MS);
  }
}

async function statusOf(agent: AgentProcess, reference: string): Promise<AgentImage | undefined> {
  return (await agent.images()).find(({ image }) => image === reference);
}
