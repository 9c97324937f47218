import { AppError } from '../domain/errors.js';

/** One setting that cannot be used: its name, what was received, what is accepted. Safe to show. */
export interface ConfigurationProblem {
  readonly name: string;
  /** As shown to the operator, quoted; undefined when nothing was set. */
  readonly received?: string;
  readonly accepted: string;
}

/** The environment does not make a configuration. Its message lists every problem, so that one start shows them all. */
export class ConfigurationError extends AppError {
  readonly code = 'INVALID_CONFIGURATION';
  /** `EX_CONFIG` of sysexits.h: what the process exits with. */
  readonly exitCode = 78;

  constructor(readonly problems: readonly ConfigurationProblem[]) {
    super(
      [
        `The configuration cannot be used (${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}):`,
        ...problems.map(
          ({ name, received, accepted }) =>
            `  ${name}: ${received === undefined ? 'not set' : `received ${received}`}; accepted: ${accepted}`,
        ),
      ].join('\n'),
    );
  }
}
