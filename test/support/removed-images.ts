import type { AgentProcess } from './agent-process.js';

/** So often an image may be removed soon after it was ready before it is left alone. */
const TOLERATED = 2;

export interface RemovalScene {
  readonly agent: AgentProcess;
  /** With the API token. */
  readonly authorization: Readonly<Record<string, string>>;
  /** Listed, and ready. */
  readonly reference: string;
  readonly limitMs: number;
  /** Takes the image out of the runtime. */
  remove(): Promise<void>;
}

/**
 * Takes an image out of the runtime each time it is there again, as kubelet's garbage collection does on a full disk,
 * until the agent leaves it alone and says so. Then requests it, and waits for it to be ready.
 * @returns what was seen
 */
export async function removeAgainAndAgain(scene: RemovalScene): Promise<string> {
  const { agent, reference, limitMs } = scene;
  let since = await readySince(scene);
  for (let removal = 1; removal <= TOLERATED; removal += 1) {
    await scene.remove();
    since = await agent.wait(`${reference} is ready again`, limitMs, async () => {
      const now = await readySince(scene);
      return now === since ? undefined : now;
    });
  }
  await scene.remove();
  const { reason, message, retryAt } = await agent.until(reference, 'failed', limitMs);
  expect(reason).toBe('runtime_error');
  expect(message).toContain(`${TOLERATED + 1} times`);
  expect(Date.parse(retryAt ?? '')).toBeGreaterThan(Date.now());
  const answer = await fetch(`${agent.url}/images/preheat`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...scene.authorization },
    body: JSON.stringify({ images: [reference] }),
  });
  expect(answer.status).toBe(202);
  await agent.until(reference, 'ready', limitMs);
  return 'runtime_error with retryAt after the third time; from the store when requested';
}

async function readySince({ agent, reference }: RemovalScene): Promise<string | undefined> {
  const found = (await agent.images()).find(({ image }) => image === reference);
  return found?.state === 'ready' ? found.since : undefined;
}
