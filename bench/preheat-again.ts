import { setTimeout as delay } from 'node:timers/promises';

import type { AgentProcess } from '../test/support/agent-process.js';

const READY_MS = 300_000;
const POLL_MS = 20;

/** Asks for an image that was ready and is gone. From the request to `ready`: the look at the runtime, the pull from the store, the names. */
export async function preheatAgain(
  agent: AgentProcess,
  reference: string,
  headers: Readonly<Record<string, string>>,
): Promise<void> {
  const before = await sinceOf(agent, reference);
  const answer = await fetch(`${agent.url}/images/preheat`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify({ images: [reference] }),
  });
  if (answer.status !== 202) throw new Error(`POST /images/preheat: ${answer.status} ${await answer.text()}`);
  const deadline = performance.now() + READY_MS;
  for (;;) {
    const since = await sinceOf(agent, reference);
    if (since !== undefined && since !== before) return;
    if (performance.now() > deadline) throw new Error(`${reference} did not become ready again`);
    await delay(POLL_MS);
  }
}

/** When it became ready; undefined while it is not. */
async function sinceOf(agent: AgentProcess, reference: string): Promise<string | undefined> {
  const status = (await agent.images()).find(({ image }) => image === reference);
  return status?.state === 'ready' ? status.since : undefined;
}

/** @returns milliseconds */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}
