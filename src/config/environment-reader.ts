import { validateSync } from 'class-validator';

import { ConfigurationError, type ConfigurationProblem } from './configuration-error.js';
import {
  EnvironmentVariables,
  spellingsOf,
  VARIABLE_NAMES,
  type VariableName,
} from './environment-variables.js';
import type { SettingType } from './setting-type.js';

/** Values that may hold a credential, or one put there by mistake. */
const NOT_SHOWN: readonly string[] = [
  'PEER_KEY_FILE',
  'API_TOKEN_FILE',
  'HTTPS_PROXY',
  'HTTP_PROXY',
  'DOCKER_HOST',
];

/** Reads typed values from the checked environment and collects every problem on the way. */
export class EnvironmentReader {
  private readonly variables: EnvironmentVariables;
  private readonly invalid = new Set<string>();
  private readonly problems: ConfigurationProblem[] = [];

  constructor(private readonly env: NodeJS.ProcessEnv) {
    this.variables = pick(env);
    for (const { property, constraints } of validateSync(this.variables)) {
      this.invalid.add(property);
      this.report(property, Object.values(constraints ?? {}).join('; '));
    }
  }

  /** The text of a variable that is set and passed its check. */
  text(name: VariableName): string | undefined {
    return this.invalid.has(name) ? undefined : this.variables[name];
  }

  /** True if there is a value, be it good or bad: a bad one is a problem already, and not one of being absent. */
  isSet(name: VariableName): boolean {
    return this.variables[name] !== undefined;
  }

  read<T>(name: VariableName, type: SettingType<T>): T | undefined {
    const text = this.text(name);
    return text === undefined ? undefined : type.parse(text);
  }

  report(name: string, accepted: string): void {
    const value = (this.variables as Readonly<Record<string, string | undefined>>)[name] ?? this.env[name];
    this.problems.push({ name, accepted, ...(value ? { received: show(name, value) } : {}) });
  }

  /** @throws ConfigurationError when anything was reported */
  throwProblems(): void {
    if (this.problems.length > 0) throw new ConfigurationError(this.problems);
  }
}

function pick(env: NodeJS.ProcessEnv): EnvironmentVariables {
  const variables = new EnvironmentVariables();
  for (const name of VARIABLE_NAMES) {
    const value = spellingsOf(name)
      .map((spelling) => env[spelling])
      .find((text) => text !== undefined && text !== '');
    if (value !== undefined) variables[name] = value;
  }
  return variables;
}

function show(name: string, value: string): string {
  if (NOT_SHOWN.includes(name)) return 'a value that is not shown here';
  return JSON.stringify(value.length > 200 ? `${value.slice(0, 200)}…` : value);
}
