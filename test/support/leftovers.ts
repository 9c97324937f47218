import { readdir } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

import type { AgentProcess } from './agent-process.js';
import { openHandles } from './target.js';

const SAMPLES = 15;
const SAMPLE_MS = 100;
const LIMIT_MS = 90_000;

/** What a process holds: it must come back to this after whatever was done to it. */
interface Holdings {
  /** Open files and sockets. */
  readonly handles: number;
  /** What keeps its event loop alive, timers too, as it says itself. */
  readonly resources: number;
  readonly timers: number;
  /** In its directory: store, temporary files, and what it keeps beside them. */
  readonly files: readonly string[];
}

/** At rest, at most: what comes and goes by itself is counted where it was there once. */
export async function holdingsAtRest(agent: AgentProcess): Promise<Holdings> {
  const samples: Holdings[] = [];
  for (let sample = 0; sample < SAMPLES; sample += 1) {
    samples.push(await holdingsOf(agent));
    await delay(SAMPLE_MS);
  }
  const highest = (count: (holdings: Holdings) => number): number => Math.max(...samples.map(count));
  return {
    handles: highest(({ handles }) => handles),
    resources: highest(({ resources }) => resources),
    timers: highest(({ timers }) => timers),
    files: [...new Set(samples.flatMap(({ files }) => files))],
  };
}

/** Waits until the agent holds no more than `before`, and says what is left when it still does after a minute and a half. */
export async function comesBackTo(agent: AgentProcess, before: Holdings): Promise<void> {
  const deadline = performance.now() + LIMIT_MS;
  for (;;) {
    const now = await holdingsOf(agent);
    const added = now.files.filter((file) => !before.files.includes(file));
    const isBack =
      now.handles <= before.handles && now.resources <= before.resources && now.timers <= before.timers;
    if (isBack && added.length === 0) return;
    if (performance.now() > deadline) {
      const counts = ({ handles, resources, timers }: Holdings): string =>
        `${handles} handles, ${resources} resources, ${timers} timers`;
      throw new Error(
        `${agent.node} holds ${counts(now)}; before: ${counts(before)}; new files: ${added.join(' ') || 'none'}`,
      );
    }
    await delay(250);
  }
}

async function holdingsOf(agent: AgentProcess): Promise<Holdings> {
  const [resources, timers, handles, files] = await Promise.all([
    agent.metric('nodejs_active_resources'),
    agent.metric('nodejs_active_resources', 'type="Timeout"'),
    openHandles(agent),
    readdir(agent.directory, { recursive: true }),
  ]);
  return { handles, resources, timers, files };
}
