import { AgentLifetime } from './agent-lifetime.js';
import { agentVersion } from './config/agent-version.js';
import { configWarnings } from './config/config-warnings.js';
import { ConfigurationError } from './config/configuration-error.js';
import { readHostFacts } from './config/host-facts.js';
import { loadConfig } from './config/load-config.js';
import { messageOf } from './domain/errors.js';

// First of all: loading the rest takes a second, and a container's first process does not even see a SIGTERM that it
// has not asked for.
const lifetime = new AgentLifetime((code) => process.exit(code));
lifetime.watch();

try {
  const config = loadConfig(process.env, readHostFacts());
  const { startAgent } = await import('./agent.js');
  await lifetime.begin((signal) => startAgent(config, signal));
  lifetime.announce(config, agentVersion(new URL('../package.json', import.meta.url)));
  lifetime.warn(configWarnings(process.env, config));
} catch (error) {
  if (lifetime.isEnding) process.exit();
  process.stderr.write(`${messageOf(error)}\n`);
  process.exitCode = error instanceof ConfigurationError ? error.exitCode : 1;
}
