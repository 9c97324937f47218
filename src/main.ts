import { startAgent, type RunningAgent } from './agent.js';
import { ConfigurationError } from './config/configuration-error.js';
import { readHostFacts } from './config/host-facts.js';
import { loadConfig } from './config/load-config.js';
import { messageOf } from './domain/errors.js';

/** Kubernetes waits 30 s before it kills; a node that drains should not wait at all. */
const SHUTDOWN_LIMIT_MS = 9_500;

try {
  const agent = await startAgent(loadConfig(process.env, readHostFacts()));
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => void stop(agent));
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`);
  process.exitCode = error instanceof ConfigurationError ? error.exitCode : 1;
}

async function stop(agent: RunningAgent): Promise<void> {
  // Whatever still hangs then is left to the next start: the store is fit for that at any moment.
  setTimeout(() => process.exit(1), SHUTDOWN_LIMIT_MS).unref();
  await agent.stop();
}
